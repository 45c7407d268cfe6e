package membus

// Sizes returns how much the store holds; messages counts what channels have
// room for, since dropped messages could be held on to.
func (b *Backend) Sizes() (channels, messages, entries int) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	for _, ch := range b.store.channels {
		messages += len(ch.messages.all)
	}
	return len(b.store.channels), messages, len(b.store.order.all)
}
