// Package redisbus is the store on Redis, in the layout of the Ruby gem.
package redisbus
