package integration_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/integration/stores"
	"github.com/messagebus-go/messagebus/transport"
	"github.com/messagebus-go/messagebus/transport/ws"
)

// examples are the blocks of docs/protocol.md, by the beginning of each.
type examples struct {
	t     *testing.T
	texts []string
}

func (e examples) find(beginning string) string {
	e.t.Helper()
	for _, text := range e.texts {
		if strings.HasPrefix(text, beginning) {
			return strings.TrimSuffix(text, "\n")
		}
	}
	e.t.Fatalf("docs/protocol.md has no block that begins with %s", beginning)
	return ""
}

// TestProtocol_ExamplesAreWhatIsSaid has a server on Redis, whose ids are dense, come to the state
// that the examples of the page are about, and compares what it says with each of them.
func TestProtocol_ExamplesAreWhatIsSaid(t *testing.T) {
	t.Parallel()
	_, blocks := readBlocks(t, "docs/protocol.md")
	e := examples{t: t}
	for _, b := range blocks {
		e.texts = append(e.texts, b.text)
	}
	b, base := serveExamples(t)
	publishTo(t, b, "/elsewhere", 4)
	publishTo(t, b, "/chat", 2)
	if _, err := b.Publish(t.Context(), "/chat", "hello"); err != nil {
		t.Fatal(err)
	}

	poll := "POST " + strings.TrimPrefix(e.find("POST {base}"), "POST ") + "?dlp=t"
	e.wants(exampleAnswer(t, base, poll, "/chat=2"), `[{"global_id":7`)
	e.wants(exampleAnswer(t, base, poll, "/chat=-1"), `[{"global_id":-1,"message_id":-1,"channel":"/__status"`)

	refused := exampleAnswer(t, base, poll, "/chat=0&/staff=0&/internal/x=0").Header.Get("Message-Bus-Refused")
	if want := e.find("message-bus-refused: "); "message-bus-refused: "+refused != want {
		t.Errorf("the header is %q, want %q", refused, want)
	}

	// "/chat=5" of the address is ahead of the bus, so that it would be a status.
	events := exampleAnswer(t, base, strings.Replace(e.find("GET {base}message-bus/{client id}/sse"), "/chat=5", "/chat=2", 1), "")
	e.wants(events, "id: 7")
	events.Body.Close()

	checkGapExample(t, e, b, base, poll)
	checkSocketExample(t, e, base)
}

// checkGapExample trims what a client of the page has not read yet.
func checkGapExample(t *testing.T, e examples, b *bus.Bus, base, poll string) {
	t.Helper()
	epoch := exampleAnswer(t, base, poll, "/chat=3&__pos=~{}").Header.Get("Message-Bus-Epoch")
	// Up to id 9, of which one message is left.
	for range 6 {
		if _, err := b.Publish(t.Context(), "/chat", "later", bus.MaxBacklogSize(1)); err != nil {
			t.Fatal(err)
		}
	}
	position := strings.ReplaceAll(e.find("__pos="), "5f3a", epoch)
	answer := body(t, exampleAnswer(t, base, poll, "/chat=3&/news=0&"+position))
	want := strings.ReplaceAll(regexp.MustCompile(`\n *`).ReplaceAllString(e.find(`[{"global_id":-1,"message_id":-1,"channel":"/__gap"`), ""), "5f3a", epoch)
	if !strings.HasPrefix(answer, strings.TrimSuffix(want, "]")+",") {
		t.Errorf("the answer is\n%s\nand does not begin with\n%s", answer, want)
	}
}

// checkSocketExample sends what a client of the page does, and is refused one channel more.
func checkSocketExample(t *testing.T, e examples, base string) {
	t.Helper()
	address := strings.NewReplacer("GET ", "", "{base}", base+"/", "{client id}", "me").Replace(e.find("GET {base}message-bus/{client id}/ws"))
	conn, _, err := websocket.Dial(t.Context(), address, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	sent := strings.Replace(e.find(`{"subscribe"`), `"/news":-1`, `"/news":-1,"/staff":0`, 1)
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(strings.Replace(sent, "/chat\":5", "/chat\":9", 1))); err != nil {
		t.Fatal(err)
	}
	_, got, err := conn.Read(t.Context())
	want := strings.Replace(strings.ReplaceAll(e.find(`[{"global_id":-1,"message_id":-1,"channel":"/__subscribed"`), "\n ", ""), `{"/news":9}`, `{"/news":0}`, 1)
	if string(got) != want || err != nil {
		t.Errorf("the answer is\n%s, %v\nwant\n%s", got, err, want)
	}
}

// serveExamples serves a bus on a Redis of its own, of which clients may not have everything.
func serveExamples(t *testing.T) (b *bus.Bus, base string) {
	t.Helper()
	store, err := redisbus.New(stores.Redis(t).Client(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = bus.New(store, &bus.Options{Keepalive: -1}); err != nil { // so that ids are those of the page
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	h, err := transport.NewHandler(b, &transport.Options{
		WebSocket: ws.Accept,
		Authorize: func(_ *http.Request, _ transport.Identity, channel string) error {
			if strings.HasPrefix(channel, "/staff") || strings.HasPrefix(channel, "/internal") {
				return errors.New("not for clients")
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	endWithTest(t, server, h)
	return b, server.URL
}

// exampleAnswer sends a request as the page writes its first line.
func exampleAnswer(t *testing.T, base, line, form string) *http.Response {
	t.Helper()
	method, address, _ := strings.Cut(strings.NewReplacer("{base}", base+"/", "{client id}", "me").Replace(line), " ")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return answer
}

func body(t *testing.T, answer *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("it is answered %s %s, %v", answer.Status, text, err)
	}
	return string(text)
}

// wants reads as many lines of an answer as an example has, and compares.
func (e examples) wants(answer *http.Response, beginning string) {
	e.t.Helper()
	want := e.find(beginning)
	lines := bufio.NewReader(answer.Body)
	var got strings.Builder
	for range strings.Count(want, "\n") + 1 {
		line, err := lines.ReadString('\n')
		got.WriteString(line)
		if err != nil {
			break
		}
	}
	if text := strings.TrimSuffix(got.String(), "\n"); text != want {
		e.t.Errorf("the answer is\n%s\nwant\n%s", text, want)
	}
}
