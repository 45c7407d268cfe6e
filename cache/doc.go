// Package cache is a map that every process shares: reads are local and quick,
// and writes reach every peer over a message bus, be it written in Go or in Ruby,
// with the DistributedCache of the gem message_bus 4.5.
package cache
