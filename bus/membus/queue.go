package membus

// A queue is a slice that is appended to at its end and dropped from its
// front, both in amortised constant time. The zero queue is empty.
type queue[T any] struct {
	all  []T
	head int // all[:head] was dropped
}

func (q *queue[T]) items() []T { return q.all[q.head:] }

func (q *queue[T]) len() int { return len(q.all) - q.head }

func (q *queue[T]) push(v T) { q.all = append(q.all, v) }

// drop removes the n first items.
func (q *queue[T]) drop(n int) {
	clear(q.all[q.head : q.head+n]) // so that they can be collected
	q.head += n
	if q.head*2 >= len(q.all) {
		q.reset(q.items())
	}
}

// reset makes items, a part of the queue, all that it holds.
func (q *queue[T]) reset(items []T) {
	n := copy(q.all, items)
	clear(q.all[n:])
	q.all, q.head = q.all[:n], 0
	if cap(q.all) > 64 && n < cap(q.all)/4 {
		q.all = append(make([]T, 0, cap(q.all)/2), q.all...) // a burst does not hold memory forever
	}
}

// truncate keeps the n first items.
func (q *queue[T]) truncate(n int) {
	clear(q.all[q.head+n:])
	q.all = q.all[:q.head+n]
}
