package cache

import "github.com/messagebus-go/messagebus/bus"

// Take hands over a message as a feed does.
func Take[K Key, V any](c *Cache[K, V], m bus.Message) {
	c.take(item{feed: c.feeds[0], sub: c.feeds[0].sub.Load(), message: m})
}

// Put stores an entry as a loader does.
func Put[K Key, V any](c *Cache[K, V], key K, value V) {
	c.mu.Lock()
	defer c.unlock()
	c.put(key, value)
}

// Remembered returns of how many keys something is known.
func Remembered[K Key, V any](c *Cache[K, V]) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.own.keys) + len(c.flights) + len(c.negatives) + c.table.len()
}
