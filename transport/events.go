package transport

import (
	"bytes"
	"cmp"
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

// Server-sent events (WHATWG HTML, section 9.2). The browser knows one id, that
// of the last event, and asks again with the address that it began with. So an
// event's id is its global id, all channels go out in that order, and one that
// cannot keep it has no id.

const (
	eventsPath = "sse"
	eventType  = "text/event-stream; charset=utf-8"

	lastEventID = "Last-Event-ID"
)

// wantsEvents reports whether a request is one for events: that is said by its
// method and the rest of its path, which no client of the gem sends.
func wantsEvents(r *http.Request, rest string) bool {
	_, after, _ := strings.Cut(rest, "/")
	return r.Method == http.MethodGet && after == eventsPath
}

// readEvents takes what the client asks for out of the address of r.
func (h *Handler) readEvents(w http.ResponseWriter, r *http.Request, q *query) error {
	if _, err := h.readBody(w, r); err != nil { // or it would stand before the next request
		return err
	}
	all := &asksOf{at: make(map[string]int), limits: &h.options.Limits}
	err := readForm(r.URL.RawQuery, func(name, value string, found bool) error {
		if name == "dlp" {
			return nil
		}
		return all.addField(name, value, found)
	})
	if err == nil {
		err = all.mark()
	}
	if err != nil {
		return err
	}
	q.asks, q.seq, q.gaps = all.asks, all.seq, all.positions != ""
	q.chunks = r.ProtoAtLeast(1, 1)
	return q.resume(r.Header.Get(lastEventID))
}

// afterEvent is the position of a client that comes back: it has what came before
// it began, and all channels up to the event. After a reset it has the event alone.
func (a ask) afterEvent() bus.Position {
	switch gid, epoch := a.event.globalID, a.event.epoch; {
	case a.fromNow || a.last <= 0 || a.mark == nil && epoch != "" || a.mark != nil && a.mark.epoch != epoch:
		return bus.Resume(0, 0, epoch).SeenUpTo(gid)
	case a.mark != nil:
		return bus.Resume(a.last, a.mark.globalID, epoch).SeenUpTo(gid)
	default:
		return bus.After(a.last).SeenUpTo(gid)
	}
}

// resume has every channel go on after an event.
func (q *query) resume(id string) error {
	if id == "" {
		return nil
	}
	number, epoch, _ := strings.Cut(id, " ")
	gid, err := strconv.ParseInt(number, 10, 64)
	if err != nil || gid < 0 {
		return badRequest("Last-Event-ID is %.40q; it must be the id of an event", id)
	}
	q.resumed = &mark{epoch: epoch, globalID: gid}
	for i := range q.asks {
		q.asks[i].event = q.resumed
	}
	return nil
}

// readOn reads on where all of a page lies before the last event, and drops the
// gaps that are older still. All channels are read again at once: what one page
// holds and another one cannot would be passed over.
func (q *query) readOn(ctx context.Context, view *bus.Bus, from map[string]bus.Position, pages map[string]bus.Page, most int) (map[string]bus.Page, error) {
	gaps := make(map[string]*bus.GapError)
	for {
		seen := false
		for channel, page := range pages {
			gaps[channel] = cmp.Or(gaps[channel], afterReturn(page.Gap))
			if page.More && !isReset(gaps[channel]) && page.Position.GlobalID() <= q.resumed.globalID {
				from[channel], seen = page.Position, true
			}
		}
		if !seen {
			break
		}
		var err error
		if pages, err = view.ReadSome(ctx, from, most); err != nil {
			return nil, err
		}
	}
	for channel, page := range pages {
		page.Gap = gaps[channel]
		pages[channel] = page
	}
	if !q.gaps {
		return pages, nil
	}
	return pages, q.forgiveTrimmed(ctx, view, pages)
}

// afterReturn is a gap to somebody who has come back after an event. The ids of another
// server say nothing of it: all that is stored comes anew.
func afterReturn(gap *bus.GapError) *bus.GapError {
	if gap == nil || gap.Reason != bus.GapFailover {
		return gap
	}
	anew := *gap
	anew.Reason = bus.GapReset
	return &anew
}

// forgiveTrimmed drops the gaps of channels of which something is stored from
// before the last event: what was trimmed is older still.
func (q *query) forgiveTrimmed(ctx context.Context, view *bus.Bus, pages map[string]bus.Page) error {
	doubtful := make(map[string]bus.Position)
	for channel, page := range pages {
		if page.Gap != nil && (page.Gap.Reason == bus.GapTrimmed || page.Gap.Reason == bus.GapPossible) {
			doubtful[channel] = bus.After(0)
		}
	}
	if len(doubtful) == 0 {
		return nil
	}
	oldest, err := view.ReadSome(ctx, doubtful, 1)
	for channel, found := range oldest {
		if len(found.Messages) > 0 && found.Messages[0].GlobalID <= q.resumed.globalID {
			page := pages[channel]
			page.Gap = nil
			pages[channel] = page
		}
	}
	return err
}

// events writes server-sent events.
type events struct {
	chunked bool          // in chunks of our own
	epoch   bool          // the client is told of gaps: ids carry the epoch
	retry   time.Duration // when it is to ask again; 0: that was said
}

// When a client asks again: after a connection that was held, so that not all
// come in one instant, and after one that there was no place for.
func soon() time.Duration { return 500*time.Millisecond + rand.N(time.Second) }

func later() time.Duration { return 5*time.Second + rand.N(5*time.Second) }

// eventHead is what comes before the events on a connection that was taken over.
func eventHead(header http.Header, chunked bool) []byte {
	b := appendHead(make([]byte, 0, 512), header)
	b = append(b, "content-type: "+eventType+"\r\nx-content-type-options: nosniff\r\nx-accel-buffering: no\r\n"...)
	if chunked {
		b = append(b, "transfer-encoding: chunked\r\n"...)
	}
	return append(b, lineEnd...)
}

// wrap puts what payload appends into a chunk, if that is ours to do.
func (e events) wrap(size int, payload func([]byte) []byte) []byte {
	if !e.chunked {
		return payload(make([]byte, 0, size))
	}
	chunk, _ := appendChunk(size, payload)
	return chunk
}

// first ends with an event that has an id only, and so is none for the page:
// who is cut off before the first message comes back to where it was.
func (e events) first(d *digest, _ bool) []byte {
	return e.wrap(len(d.messages)+512, func(b []byte) []byte { return e.appendFirst(b, d) })
}

func (e events) appendFirst(b []byte, d *digest) []byte {
	newest := int64(0)
	b = e.appendGaps(b, d)
	for _, p := range d.byGlobalID() {
		b = e.appendPiece(b, d, p, newest)
		newest = max(newest, p.gid)
	}
	b = appendStatus(b, &d.status)
	b = append(b, "retry: "...)
	b = strconv.AppendInt(b, e.retry.Milliseconds(), 10)
	b = append(b, '\n')
	if gid, epoch, known := d.reached(); known && gid >= newest {
		b = e.appendID(b, gid, epoch)
	}
	return append(b, '\n')
}

func (e events) again(d *digest, newest int64) [][]byte {
	var parts [][]byte
	if !d.gaps.empty() {
		parts = append(parts, e.wrap(128, func(b []byte) []byte { return e.appendGaps(b, d) }))
	}
	for _, p := range d.byGlobalID() {
		if p.gid > newest {
			newest = p.gid
			parts = append(parts, e.live(p.frame))
		} else {
			parts = append(parts, e.late(p.frame, 0))
		}
	}
	return parts
}

func (e events) appendGaps(b []byte, d *digest) []byte {
	if d.gaps.empty() {
		return b
	}
	return appendData(append(b, "event: gap\n"...), d.gaps.message())
}

// appendPiece appends a message; one that comes after higher ids has none.
func (e events) appendPiece(b []byte, d *digest, p piece, newest int64) []byte {
	if p.gid > newest {
		b = e.appendID(b, p.gid, p.epoch)
	}
	return appendData(b, d.messages[p.start:p.end])
}

func (e events) appendID(b []byte, gid int64, epoch string) []byte {
	b = strconv.AppendInt(append(b, "id: "...), gid, 10)
	if e.epoch && epoch != "" && !strings.ContainsAny(epoch, "\r\n\x00") {
		b = append(append(b, ' '), epoch...)
	}
	return append(b, '\n')
}

// appendData appends a message and ends the event. Line ends stand between the
// tokens of JSON only, where one is as good as another.
func appendData(b, message []byte) []byte {
	for len(message) > 0 {
		line := message
		if i := bytes.IndexAny(message, "\r\n"); i >= 0 {
			line, message = message[:i], message[i+1:]
		} else {
			message = nil
		}
		b = append(append(append(b, "data: "...), line...), '\n')
	}
	return append(b, '\n')
}

func appendStatus(b []byte, told *status) []byte {
	if told.empty() {
		return b
	}
	return appendData(append(b, "event: status\n"...), told.appendTo(nil))
}

// event is the message as an event in an HTTP chunk of its own.
func (f *frame) event(e events) *shared {
	which := &f.events[0]
	if e.epoch {
		which = &f.events[1]
	}
	which.make(len(f.data)+len(f.channel)+64, func(b []byte) []byte {
		return appendData(e.appendID(b, f.gid, f.epoch), appendMessage(nil, f.gid, f.id, f.channel, f.data))
	})
	return which
}

func (e events) live(f *frame) []byte {
	made := f.event(e)
	if e.chunked {
		return made.chunk
	}
	return made.payload()
}

func (e events) late(f *frame, _ int64) []byte {
	return e.wrap(len(f.data)+len(f.channel)+64, func(b []byte) []byte {
		return appendData(b, appendMessage(nil, f.gid, f.id, f.channel, f.data))
	})
}

func (e events) last(told *status) []byte {
	if told.empty() {
		return nil
	}
	return e.wrap(128, func(b []byte) []byte { return appendStatus(b, told) })
}

func (e events) beat() []byte {
	return e.wrap(8, func(b []byte) []byte { return append(b, ":\n\n"...) })
}

func (e events) tail() []byte {
	if e.chunked {
		return []byte(lastChunk)
	}
	return nil
}

func (events) single() bool { return false }

func (events) ordered() bool { return true }
