package bus

// Bounds of what one subscription holds. A reader that falls further behind
// reads the backlog. In a flood a reader that is busy for some milliseconds
// must find its messages here: the backlog is several times slower.
const (
	maxQueued      = 16_384  // live messages
	maxQueuedBytes = 1 << 20 // of their envelopes; one message may be larger
)

// keptItems bounds the memory of an empty queue.
const keptItems = 8

// A queue holds the live messages that wait for a reader, oldest first.
type queue struct {
	items []*item
	head  int // items[:head] were taken
	bytes int // of the envelopes of the others
}

func (q *queue) len() int { return len(q.items) - q.head }

// full reports whether there is no room for it.
func (q *queue) full(it *item) bool {
	return q.len() >= maxQueued || q.len() > 0 && q.bytes+it.size() > maxQueuedBytes
}

// filling reports whether it is time for the reader to be quick.
func (q *queue) filling() bool {
	return q.len() >= maxQueued/2 || q.bytes >= maxQueuedBytes/2
}

// add makes room by moving the items rather than by growing, where enough were
// taken: a reader that keeps pace costs no memory.
func (q *queue) add(it *item) {
	if len(q.items) == cap(q.items) && q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, it)
	q.bytes += it.size()
}

// take takes the first item; there must be one.
func (q *queue) take() *item {
	it := q.items[q.head]
	q.items[q.head] = nil
	q.head++
	q.bytes -= it.size()
	if q.head == len(q.items) {
		q.empty()
	}
	return it
}

func (q *queue) empty() {
	if cap(q.items) > keptItems {
		q.items = nil
	}
	q.items, q.head = q.items[:0], 0
}

// takeAll takes everything.
func (q *queue) takeAll() []*item {
	all := q.items[q.head:]
	*q = queue{}
	return all
}
