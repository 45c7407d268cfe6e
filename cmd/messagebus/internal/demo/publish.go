package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/messagebus-go/messagebus/bus"
)

const (
	maxBodyBytes = 32 << 10 // 2000 characters, each written as two escapes, and the rest
	maxRoomRunes = 32
	maxNameRunes = 40
	maxTextRunes = 2000
	maxFromBytes = 40
)

// What the channels keep. Who is there goes stale within two minutes, and would
// otherwise take the place of what was said.
const (
	roomBacklog     = 500
	roomsBacklog    = 100
	presenceBacklog = 200
	presenceAge     = 2 * time.Minute
)

// roomsChannel tells which rooms people have opened.
const roomsChannel = "/demo/rooms"

func roomChannel(room string) string     { return "/demo/room/" + room }
func presenceChannel(room string) string { return "/demo/room/" + room + "/presence" }

// utterance is what the page posts, and, with the time added, what is published.
type utterance struct {
	Room string `json:"room"`
	Kind string `json:"kind"`           // say, typing, here, bye or open
	From string `json:"from"`           // the window that it comes from
	Name string `json:"name"`           // what its user is called
	Text string `json:"text,omitempty"` // of say
	At   int64  `json:"at"`             // milliseconds since 1970, by the server's clock
}

// published is the answer to a publish.
type published struct {
	ID int64 `json:"id"`
	At int64 `json:"at"`
}

// publisher answers POST /demo/publish.
type publisher struct {
	bus    *bus.Bus
	logger *slog.Logger
	origin http.CrossOriginProtection
}

func (p *publisher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := p.origin.Check(r); err != nil {
		refuse(w, http.StatusForbidden, "only the demo's own page may publish: "+err.Error())
		return
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		refuse(w, http.StatusUnsupportedMediaType, "the content type must be application/json")
		return
	}
	u, err := readUtterance(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		refuse(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is longer than %d bytes", tooLarge.Limit))
		return
	case err != nil:
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	p.publish(w, r, u)
}

func (p *publisher) publish(w http.ResponseWriter, r *http.Request, u utterance) {
	u.At = time.Now().UnixMilli()
	channel, limits := u.destination()
	id, err := p.bus.Publish(r.Context(), channel, u, limits...)
	if err != nil {
		p.logger.Error("demo: publish failed", "channel", channel, "error", err)
		refuse(w, http.StatusServiceUnavailable, "the message could not be stored")
		return
	}
	answer(w, http.StatusOK, published{ID: id, At: u.At})
}

// destination returns the channel of an utterance, and what that channel keeps.
func (u utterance) destination() (channel string, limits []bus.PublishOption) {
	switch u.Kind {
	case "say":
		return roomChannel(u.Room), []bus.PublishOption{bus.MaxBacklogSize(roomBacklog)}
	case "open":
		return roomsChannel, []bus.PublishOption{bus.MaxBacklogSize(roomsBacklog)}
	default:
		return presenceChannel(u.Room), []bus.PublishOption{bus.MaxBacklogSize(presenceBacklog), bus.MaxBacklogAge(presenceAge)}
	}
}

// readUtterance reads and checks one utterance. Its errors are written for who
// sent it.
func readUtterance(body io.Reader) (utterance, error) {
	var u utterance
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&u); err != nil {
		return u, fmt.Errorf("the body must be one JSON object of room, kind, from, name and text: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("something follows the object")
		}
		return u, fmt.Errorf("the body must be one JSON object: %w", err)
	}
	u.Name, u.Text = strings.TrimSpace(u.Name), strings.TrimSpace(u.Text)
	return u, u.check()
}

func (u utterance) check() error {
	switch u.Kind {
	case "say", "typing", "here", "bye", "open":
	default:
		return fmt.Errorf("kind is %q; it must be say, typing, here, bye or open", u.Kind)
	}
	if err := checkRoom(u.Room); err != nil {
		return err
	}
	if !isToken(u.From) {
		return fmt.Errorf("from must be 1 to %d letters, digits and dashes", maxFromBytes)
	}
	if n := utf8.RuneCountInString(u.Name); n == 0 || n > maxNameRunes || strings.ContainsFunc(u.Name, unicode.IsControl) {
		return fmt.Errorf("name must be 1 to %d characters on one line", maxNameRunes)
	}
	if u.Kind != "say" {
		if u.Text != "" {
			return fmt.Errorf("text goes with the kind say, not with %s", u.Kind)
		}
		return nil
	}
	if n := utf8.RuneCountInString(u.Text); n == 0 || n > maxTextRunes {
		return fmt.Errorf("text is %d characters long; it must be 1 to %d", n, maxTextRunes)
	}
	if strings.ContainsRune(u.Text, 0) {
		return errors.New("text must not contain NUL")
	}
	return nil
}

// checkRoom accepts lower-case letters of any script, digits and single dashes
// between them: a part of a channel name that looks the same to everybody.
func checkRoom(room string) error {
	fits := utf8.RuneCountInString(room) <= maxRoomRunes && room == strings.ToLower(room)
	for word := range strings.SplitSeq(room, "-") {
		fits = fits && word != "" && !strings.ContainsFunc(word, func(c rune) bool {
			return !unicode.IsLetter(c) && !unicode.IsDigit(c)
		})
	}
	if !fits {
		return fmt.Errorf("room is %q; it must be 1 to %d lower-case letters and digits, with single dashes between them", room, maxRoomRunes)
	}
	return nil
}

func isToken(s string) bool {
	return s != "" && len(s) <= maxFromBytes && !strings.ContainsFunc(s, func(c rune) bool {
		return c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	})
}

func refuse(w http.ResponseWriter, status int, reason string) {
	answer(w, status, map[string]string{"error": reason})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The status is out; a client that has gone reads neither.
	_ = json.NewEncoder(w).Encode(body) //nolint:errchkjson // see above
}
