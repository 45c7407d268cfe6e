package httpclient

// A place is where one subscription stands on its channel. It decides what is
// new to it, and knows nothing of requests but what they ask for.
//
// Order and repetition are judged by global id, since the message ids of a
// channel may begin again while its store goes on. A server of this project
// vouches for what it sends: it tells every reset, and a message that comes
// behind others with higher ids. Of a Ruby server's answers the ids are all
// that there is.
type place struct {
	wire     int64  // what the next request carries: an id, or Latest and Last as on the wire
	globalID int64  // the highest that was taken; 0: none
	exact    bool   // that is the one of the message with the id wire
	epoch    string // of the store, when a server vouched for wire; empty: not known

	reach  reach
	told   bool // a gap of its answer has named the epoch
	joined bool // an answer from further back has come to what is not behind the place
	alone  bool // the next request has to ask from exactly here

	before *passed // of a Ruby server: where the ids began again
	recent *recent // what was taken of late
	tail   int64   // Last is asked for again after a look at where the channel stands; 0: no
	floor  int64   // where it stood then; -1: that was not asked
}

// A reach is how a request serves a place.
type reach uint8

const (
	unserved reach = iota
	exactly        // it asks from there
	further        // from further back, for another subscription
)

type passed struct{ id, globalID int64 }

func placeOf(p Position) place {
	return place{wire: p.id, globalID: p.globalID, exact: p.globalID > 0, epoch: p.epoch, floor: -1}
}

// position is the place as others may know it.
func (p *place) position() Position {
	at := Position{id: p.wire, epoch: p.epoch}
	if p.exact {
		at.globalID = p.globalID
	}
	return at
}

// comesFirst reports whether a request is to ask for p rather than for other.
//
// The lowest id serves everyone who is ahead of it. A place at the latest or at a
// tail has no id yet, and one number cannot ask for both, so those go first: the
// latest, then the shortest tail.
func (p *place) comesFirst(other *place) bool {
	switch {
	case p.alone || other.alone:
		return !other.alone
	case p.wire < 0 || other.wire < 0:
		return p.wire < 0 && (other.wire >= 0 || p.wire > other.wire)
	}
	return p.wire < other.wire
}

// aim prepares for a request that asks for the channel from this position.
func (p *place) aim(carried Position) {
	p.told, p.joined = false, false
	switch {
	case carried.id == p.wire && carried.epoch == p.epoch:
		p.reach, p.alone = exactly, false
	case carried.id >= 0 && carried.id <= p.wire && !p.alone:
		p.reach = further
	default:
		p.reach = unserved
	}
}

// meet is told in which epoch the answer begins; it is empty for a Ruby server. An
// answer from further back says nothing of a place from another epoch, which only
// the server can compare, if it is asked; false: it has to be.
func (p *place) meet(epoch string) (served bool) {
	if p.reach == further && epoch != "" && p.epoch != epoch {
		p.askAlone()
		return false
	}
	return true
}

// askAlone leaves the answer: it says nothing of the place.
func (p *place) askAlone() { p.reach, p.alone = unserved, true }

// passes reports whether an answer that comes to an id has passed the place: one from
// further back whose first message lies behind it. What was trimmed in between only
// the server knows, if it is asked.
func (p *place) passes(id int64) bool {
	if p.reach != further || p.wire < 0 {
		return false
	}
	p.joined = p.joined || id <= p.wire+1
	return !p.joined
}

// arrive notes that the answer has come to a message: from the place's own on, it is
// answered as if it had been asked for.
func (p *place) arrive(globalID int64) {
	if p.reach == further && p.exact && p.globalID == globalID {
		p.reach = exactly
	}
}

// begin is called when the gaps of the first part have been told: from now on the
// place belongs to the epoch of the answer.
func (p *place) begin(epoch string) {
	if p.reach == exactly && epoch != "" && !p.told {
		p.epoch = epoch
	}
}

// A verdict is what a message is to a place.
type verdict uint8

const (
	seen      verdict = iota
	fresh             // it is the next
	restarted         // it is the next, and the ids began again before it
	doubtful          // it was seen, or is late; the end of the part tells
)

// judge says what a message is. vouched: by a server that tells resets itself.
func (p *place) judge(id, globalID int64, vouched bool) verdict {
	switch {
	case p.reach == unserved:
		return seen
	case p.wire < 0:
		return fresh
	case vouched:
		return p.judgeVouched(id, globalID)
	default:
		return p.judgeByIDs(id, globalID)
	}
}

func (p *place) judgeVouched(id, globalID int64) verdict {
	switch {
	case globalID > p.globalID && (p.exact || id > p.wire):
		return fresh
	case p.reach == exactly && !p.recent.has(globalID):
		return doubtful
	}
	return seen
}

func (p *place) judgeByIDs(id, globalID int64) verdict {
	behind := id <= p.wire
	switch {
	case p.before != nil && id <= p.before.id && globalID <= p.before.globalID:
		return seen
	case p.globalID > 0 && behind && globalID <= p.globalID:
		return seen
	case p.globalID == 0 && behind && p.reach == further:
		return seen // or of a store that was reset: the server says so when it is asked exactly
	case behind || globalID <= p.globalID:
		return restarted
	}
	return fresh
}

// take moves behind a message that is fresh or restarted.
func (p *place) take(id, globalID int64, vouched bool) {
	if vouched {
		p.recent = p.recent.add(globalID)
	} else {
		p.rememberRestart(id, globalID)
	}
	p.wire, p.globalID, p.exact = id, globalID, true
	p.tail, p.floor = 0, -1
}

// rememberRestart notes up to where old messages may come again.
func (p *place) rememberRestart(id, globalID int64) {
	switch {
	case globalID <= p.globalID:
		p.before = nil
	case id <= p.wire && p.globalID > 0:
		last := p.wire
		if p.before != nil {
			last = max(last, p.before.id)
		}
		p.before = &passed{last, p.globalID}
	}
}

// takeLate notes a message that came late: the place stays.
func (p *place) takeLate(globalID int64) { p.recent = p.recent.add(globalID) }

// settle takes the channel's last id from a status message: all up to it is done
// with. reset: the ids began again, and the first new one is the next after it.
func (p *place) settle(last int64, vouched bool) (moved, reset bool) {
	switch {
	case p.reach == unserved || last == p.wire:
		return false, false
	case p.tail != 0:
		// This request has not asked for the tail, so that what follows in it says
		// nothing about the tail.
		p.floor, p.wire, p.tail, p.reach = last, p.tail, 0, unserved
		return true, false
	case p.wire >= 0 && last < p.wire:
		// A server that was told an epoch tells a reset itself: this status is older
		// than what has been taken.
		if vouched && p.epoch != "" {
			return false, false
		}
		p.forget()
		p.wire = last
		return true, true
	}
	p.wire, p.exact = last, false
	return true, false
}

// endBacklog is called when the first part, and with it the whole backlog, has
// been taken.
//
// A tail that came back empty is not asked for again just so: of more than n
// messages that came meanwhile, the first would be lost. Nor is it position 0:
// Ruby servers subtract n from the last id, so that an empty tail does not mean an
// empty channel. So the last id is looked up, then the tail is asked for once more,
// and if it is still empty, the place is that id.
func (p *place) endBacklog() (moved bool) {
	if p.reach == unserved || p.wire >= latest {
		return false
	}
	if p.floor < 0 {
		p.tail, p.wire = p.wire, latest
	} else {
		p.wire = p.floor
	}
	return true
}

// looksUp reports whether the next request only finds out where the place is.
func (p *place) looksUp() bool { return p.tail != 0 }

// enter goes on in the epoch that a gap names.
func (p *place) enter(epoch string) { p.epoch, p.told, p.joined = epoch, true, true }

// restart goes on in another life of the store, whose first message is next.
func (p *place) restart(next int64) {
	p.forget()
	p.wire = max(next-1, 0)
	p.tail, p.floor = 0, -1
}

// goBack goes on with a server that took over, whose next message may be below ids that
// were passed without one of the channel.
func (p *place) goBack(next int64) {
	if next <= p.wire && !p.exact {
		p.wire = max(next-1, 0)
	}
}

func (p *place) forget() {
	p.globalID, p.exact, p.before, p.recent = 0, false, nil, nil
}

// recent are the global ids of the messages that were taken last, so that a late
// one is told from one that comes again.
type recent struct {
	ids  [32]int64
	next int
}

func (r *recent) add(globalID int64) *recent {
	if r == nil {
		r = &recent{}
	}
	r.ids[r.next] = globalID
	r.next = (r.next + 1) % len(r.ids)
	return r
}

// has reports whether a message was taken, or may have been: it is older than all
// that is remembered.
func (r *recent) has(globalID int64) bool {
	if r == nil {
		return false
	}
	oldest := r.ids[r.next] // 0 until there have been so many
	for _, id := range r.ids {
		if id == globalID {
			return true
		}
		if id != 0 && id < oldest {
			oldest = id
		}
	}
	return r.ids[r.next] != 0 && globalID < oldest
}
