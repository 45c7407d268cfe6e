// Package pgbus is the store on Postgres, in the layout of the Ruby gem.
package pgbus
