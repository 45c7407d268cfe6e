// Package rubycompat holds recordings of the Ruby gem and tests beside it.
package rubycompat
