package httpclient_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/httpclient"
)

const many = 100_000

// manyMessages is an answer: half of it a backlog in one part, half of it live messages, each in
// a part of its own.
func manyMessages() []byte {
	var b bytes.Buffer
	b.WriteByte('[')
	for id := 1; id <= many; id++ {
		fmt.Fprintf(&b, `{"global_id":%d,"message_id":%d,"channel":"/chat","data":{"user":"ann","text":"hello %d"}}`, 10*id, id, id)
		switch {
		case id < many/2:
			b.WriteByte(',')
		case id < many:
			b.WriteString("]\r\n|\r\n[")
		}
	}
	b.WriteString("]\r\n|\r\n")
	return b.Bytes()
}

type bareMessage struct {
	GlobalID  int64           `json:"global_id"`
	MessageID int64           `json:"message_id"`
	Channel   string          `json:"channel"`
	Data      json.RawMessage `json:"data"`
}

// readBare reads and decodes an answer and does nothing else.
func readBare(body io.Reader) (n int, err error) {
	all, err := io.ReadAll(body)
	for part := range bytes.SplitSeq(all, []byte("\r\n|\r\n")) {
		var messages []bareMessage
		if len(part) > 0 && err == nil {
			err = json.Unmarshal(part, &messages)
		}
		n += len(messages)
	}
	return n, err
}

// BenchmarkClient_ReadsMessages reads 100,000 small messages from a server on this machine,
// once with the client and once bare in each round, and reports the client's speed as a
// multiple of the bare one, and its allocations for a message.
func BenchmarkClient_ReadsMessages(b *testing.B) {
	answer := manyMessages()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(answer)
	}))
	defer server.Close()
	var ours, bare time.Duration
	var allocated uint64
	for b.Loop() {
		began := time.Now()
		response, err := http.Post(server.URL, "application/json", strings.NewReader("{}"))
		if err != nil {
			b.Fatal(err)
		}
		n, err := readBare(response.Body)
		response.Body.Close()
		if n != many || err != nil {
			b.Fatalf("%d messages, %v", n, err)
		}
		bare += time.Since(began)

		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began = time.Now()
		receiveMany(b, server.URL)
		ours += time.Since(began)
		runtime.ReadMemStats(&after)
		allocated += after.Mallocs - before.Mallocs
	}
	b.ReportMetric(bare.Seconds()/ours.Seconds(), "×bare")
	b.ReportMetric(float64(allocated)/float64(b.N)/many, "allocs/message")
}

func receiveMany(b *testing.B, url string) {
	b.Helper()
	client, err := httpclient.New(url, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	done := make(chan struct{})
	if _, err := client.Subscribe("/chat", httpclient.After(0), func(m httpclient.Message) {
		if m.ID == many {
			close(done)
		}
	}); err != nil {
		b.Fatal(err)
	}
	<-done
}

// BenchmarkIdle_Memory holds 1000 streams by clients, and as many by a bare http.Client each,
// and reports the bytes of the former and their multiple of the latter.
func BenchmarkIdle_Memory(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "[]\r\n|\r\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer server.Close()
	const clients = 1000
	for b.Loop() {
		bare := grown(b, func() func() { return holdBare(b, server.URL, clients) })
		ours := grown(b, func() func() { return holdClients(b, server.URL, clients) })
		b.ReportMetric(ours/clients, "B/client")
		b.ReportMetric(ours/bare, "×bare")
	}
}

// grown returns by how many bytes of heap and stacks the process grows, server included, while
// something is held.
func grown(b *testing.B, open func() (end func())) float64 {
	b.Helper()
	before := inUse()
	end := open()
	after := inUse()
	end()
	return after - before
}

func inUse() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapInuse + m.StackInuse)
}

func holdBare(b *testing.B, url string, n int) (end func()) {
	b.Helper()
	ended := make(chan struct{}, n)
	var open []io.Closer
	for range n {
		client := &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
		response, err := client.Post(url, "application/json", strings.NewReader("{}"))
		if err != nil {
			b.Fatal(err)
		}
		begun := make(chan struct{})
		open = append(open, response.Body)
		go func() {
			piece := make([]byte, 1<<10)
			_, _ = response.Body.Read(piece)
			close(begun)
			_, _ = response.Body.Read(piece)
			ended <- struct{}{}
		}()
		<-begun
	}
	return func() {
		for _, body := range open {
			body.Close()
		}
		for range n {
			<-ended
		}
	}
}

func holdClients(b *testing.B, url string, n int) (end func()) {
	b.Helper()
	var clients []*httpclient.Client
	for range n {
		client, err := httpclient.New(url, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := client.Subscribe("/chat", httpclient.After(0), func(httpclient.Message) {}); err != nil {
			b.Fatal(err)
		}
		clients = append(clients, client)
	}
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for _, client := range clients {
		for !client.Diagnostics().Connected {
			<-retry.C
		}
	}
	return func() {
		for _, client := range clients {
			client.Close()
		}
	}
}

// BenchmarkClient_Delay sends one message after another, each when the last one has arrived, by
// the client and bare in turn, and reports the client's time as a multiple of the bare one.
func BenchmarkClient_Delay(b *testing.B) {
	const messages = 2000
	var ours, bare time.Duration
	for b.Loop() {
		bare += delay(b, delayBare, messages)
		ours += delay(b, delayOurs, messages)
	}
	b.ReportMetric(ours.Seconds()/bare.Seconds(), "×bare")
}

// delay lets receive hear messages of a server of its own.
func delay(b *testing.B, receive func(b *testing.B, url string, next chan<- int, n int) time.Duration, n int) time.Duration {
	b.Helper()
	next := make(chan int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		control := http.NewResponseController(w)
		_, _ = io.WriteString(w, "[]\r\n|\r\n")
		_ = control.Flush()
		for {
			select {
			case id := <-next:
				_, _ = io.WriteString(w, "["+messageOf("/chat", id, 10*id)+"]\r\n|\r\n")
				_ = control.Flush()
			case <-r.Context().Done():
				return
			}
		}
	}))
	defer server.Close()
	return receive(b, server.URL, next, n)
}

func delayOurs(b *testing.B, url string, next chan<- int, n int) time.Duration {
	b.Helper()
	client, err := httpclient.New(url, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	got := make(chan struct{})
	if _, err := client.Subscribe("/chat", httpclient.After(0), func(httpclient.Message) { got <- struct{}{} }); err != nil {
		b.Fatal(err)
	}
	return pingPong(next, got, n)
}

func delayBare(b *testing.B, url string, next chan<- int, n int) time.Duration {
	b.Helper()
	response, err := http.Post(url, "application/json", strings.NewReader("{}"))
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	got := make(chan struct{})
	go func() {
		piece := make([]byte, 4<<10)
		for {
			n, err := response.Body.Read(piece)
			if err != nil {
				return
			}
			var messages []bareMessage
			part, _, _ := bytes.Cut(piece[:n], []byte("\r\n|\r\n"))
			if json.Unmarshal(part, &messages) == nil && len(messages) > 0 {
				got <- struct{}{}
			}
		}
	}()
	return pingPong(next, got, n)
}

func pingPong(next chan<- int, got <-chan struct{}, n int) time.Duration {
	next <- 1
	<-got // the connection stands
	began := time.Now()
	for id := 2; id < 2+n; id++ {
		next <- id
		<-got
	}
	return time.Since(began)
}
