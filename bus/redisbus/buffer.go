package redisbus

// A buffer holds bytes that were read and not used yet. It grows to hold one
// frame, however large, and shrinks when that is used. The zero buffer is empty.
type buffer struct {
	bytes      []byte
	start, end int // of what is unread
}

const (
	bufferSize  = 64 << 10
	bufferGreed = 1 << 20 // what it may keep while it is empty
)

func (b *buffer) unread() []byte { return b.bytes[b.start:b.end] }

func (b *buffer) skip(n int) { b.start += n }

// filled says how many bytes were put into the space.
func (b *buffer) filled(n int) { b.end += n }

// space returns room for further bytes, at the expense of slices of unread.
func (b *buffer) space() []byte {
	if b.start == b.end {
		b.start, b.end = 0, 0
		if cap(b.bytes) == 0 || cap(b.bytes) > bufferGreed {
			b.bytes = make([]byte, bufferSize)
		}
	}
	if b.end < len(b.bytes) {
		return b.bytes[b.end:]
	}
	to := b.bytes
	if b.start < len(b.bytes)/2 {
		to = make([]byte, 2*len(b.bytes))
	}
	b.end = copy(to, b.unread())
	b.start, b.bytes = 0, to
	return b.bytes[b.end:]
}
