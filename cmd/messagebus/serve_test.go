package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// publishVia publishes through the admin listener.
func publishVia(t *testing.T, s *running, body string) {
	t.Helper()
	if r := send(t, "POST", "http://"+s.admin+"/publish", body, nil); r.status != 200 {
		t.Fatalf("publish: %d %s", r.status, r.body)
	}
}

// held is a request that is held, read from its own connection, chunk by chunk.
type held struct {
	header http.Header
	status int
	conn   net.Conn
	reader *bufio.Reader
}

// hold sends a poll on a connection of its own and reads the head of the answer.
func hold(t *testing.T, address, target, body string, header ...string) *held {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	lines := append([]string{
		"POST " + target + " HTTP/1.1", "Host: " + address, "Content-Type: application/x-www-form-urlencoded",
		fmt.Sprintf("Content-Length: %d", len(body)),
	}, header...)
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"+body); err != nil {
		t.Fatal(err)
	}
	return &held{conn: conn, reader: bufio.NewReader(conn)}
}

// head reads the head of the answer, which comes at once only when it is chunked.
func (h *held) head(t *testing.T) {
	t.Helper()
	// Not http.ReadResponse: it would hide the chunks.
	status, err := h.reader.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(status, "HTTP/1.1 %d", &h.status); err != nil {
		t.Fatal(err)
	}
	h.header = http.Header{}
	for {
		line, err := h.reader.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		name, value, found := strings.Cut(strings.TrimSpace(line), ":")
		if !found {
			return
		}
		h.header.Add(name, strings.TrimSpace(value))
	}
}

// chunk reads one chunk of the answer; empty: the last one.
func (h *held) chunk(t *testing.T) string {
	t.Helper()
	var size int
	line, err := h.reader.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(line, "%x\r\n", &size); err != nil {
		t.Fatalf("%q is no chunk: %v", line, err)
	}
	data := make([]byte, size+2)
	if _, err := io.ReadFull(h.reader, data); err != nil {
		t.Fatal(err)
	}
	return string(data[:size])
}

const separator = "\r\n|\r\n"

func TestServe_PublishPollStream(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	publishVia(t, s, `{"channel":"/chat","data":"one"}`)
	publishVia(t, s, `{"channel":"/chat","data":"for another","user_ids":[7]}`)

	poll := send(t, "POST", "http://"+s.client+"/message-bus/me/poll?dlp=t", "/chat=0", form)
	const one = `{"global_id":1,"message_id":1,"channel":"/chat","data":"one"}`
	const status = `{"global_id":-1,"message_id":-1,"channel":"/__status","data":{"/chat":2}}`
	if poll.status != 200 || poll.body != "["+one+","+status+"]" {
		t.Errorf("poll: %d %s", poll.status, poll.body)
	}

	stream := hold(t, s.client, "/message-bus/me/poll", "/chat=0")
	stream.head(t)
	if stream.status != 200 || stream.header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("stream: %d %v", stream.status, stream.header)
	}
	if got := stream.chunk(t); got != "["+one+","+status+"]"+separator {
		t.Errorf("the backlog is %q", got)
	}
	for i := 3; i < 6; i++ {
		publishVia(t, s, fmt.Sprintf(`{"channel":"/chat","data":%d}`, i))
		want := fmt.Sprintf(`[{"global_id":%d,"message_id":%d,"channel":"/chat","data":%d}]`, i, i, i) + separator
		if got := stream.chunk(t); got != want {
			t.Errorf("a chunk is %q, want %q", got, want)
		}
	}
	if end := s.stop(); end.code != exitDone {
		t.Errorf("serve ended with %+v", end)
	}
	if last, end := stream.chunk(t), stream.chunk(t); last != "[]"+separator || end != "" {
		t.Errorf("the stream ends with %q and %q", last, end)
	}
}

var form = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}

func TestServe_FlagsTakeEffect(t *testing.T) {
	t.Parallel()
	t.Run("no long poll", func(t *testing.T) {
		t.Parallel()
		s := serve(t, nil, "--no-long-poll", "--hold", "1h")
		if r := send(t, "POST", "http://"+s.client+"/message-bus/me/poll", "/a=0", form); r.status != 200 || r.body != "[]" {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	t.Run("none held", func(t *testing.T) {
		t.Parallel()
		s := serve(t, environ{"MESSAGEBUS_MAX_HELD": "0", "MESSAGEBUS_HOLD": "1h"})
		if r := send(t, "POST", "http://"+s.client+"/message-bus/me/poll", "/a=0", form); r.status != 200 || r.body != "[]" {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	t.Run("hold", func(t *testing.T) {
		t.Parallel()
		s := serve(t, nil, "--hold", "1ms")
		r := send(t, "POST", "http://"+s.client+"/message-bus/me/poll", "/a=0", form)
		if r.status != 200 || r.body != "[]"+separator+"[]"+separator {
			t.Errorf("%d %q", r.status, r.body)
		}
	})
	t.Run("no chunked", func(t *testing.T) {
		t.Parallel()
		s := serve(t, nil, "--no-chunked")
		h := hold(t, s.client, "/message-bus/me/poll", "/a=-1")
		h2 := hold(t, s.client, "/message-bus/other/poll", "/b=0")
		// The first is answered at once, with the status; the second is held.
		h.head(t)
		waitHeld(t, s, 1)
		publishVia(t, s, `{"channel":"/b","data":1}`)
		h2.head(t)
		if h2.header.Get("Transfer-Encoding") != "" || !strings.HasPrefix(h2.header.Get("Content-Type"), "application/json") {
			t.Errorf("the answer is %v", h2.header)
		}
		body, err := io.ReadAll(h2.reader)
		if want := `[{"global_id":1,"message_id":1,"channel":"/b","data":1}]`; err != nil || string(body) != want {
			t.Errorf("%q, %v; want %s", body, err, want)
		}
	})
	t.Run("base path and headers", func(t *testing.T) {
		t.Parallel()
		s := serve(t, environ{"MESSAGEBUS_HEADER": "X-Env: 1"},
			"--base-path", "/app", "--header", "X-One: 1", "--header", "x-two: a:b", "--header", "X-One:2", "--header", "Cache-Control: no-store")
		r := send(t, "POST", "http://"+s.client+"/app/message-bus/me/poll?dlp=t", "/a=0", form)
		if r.status != 200 || !slices.Equal(r.header.Values("X-One"), []string{"1", "2"}) || r.header.Get("X-Two") != "a:b" ||
			!slices.Equal(r.header.Values("Cache-Control"), []string{"no-store"}) || r.header.Get("X-Env") != "" {
			t.Errorf("%d %v", r.status, r.header)
		}
		h := hold(t, s.client, "/app/message-bus/me/poll", "/a=0")
		if h.head(t); h.header.Get("X-Two") != "a:b" || !slices.Equal(h.header.Values("X-One"), []string{"1", "2"}) {
			t.Errorf("a held answer has %v", h.header)
		}
		for _, path := range []string{"/", "/message-bus/me/poll", "/appmessage-bus/me/poll", "/publish", "/health"} {
			if r := send(t, "POST", "http://"+s.client+path, "", nil); r.status != 404 || strings.TrimSpace(r.body) != "not found" {
				t.Errorf("%s: %d %q", path, r.status, r.body)
			}
		}
	})
	t.Run("retention", func(t *testing.T) {
		t.Parallel()
		s := serve(t, nil, "--max-backlog-size", "1", "--max-global-backlog-size", "2")
		for range 3 {
			publishVia(t, s, `{"channel":"/a","data":1}`)
		}
		if r := send(t, "GET", "http://"+s.admin+"/backlog?channel=/a", "", nil); strings.Count(r.body, "\n") != 1 || !strings.Contains(r.body, `"id":3`) {
			t.Errorf("kept is %s", r.body)
		}
	})
	t.Run("admin key", func(t *testing.T) {
		t.Parallel()
		s := serve(t, environ{"MESSAGEBUS_ADMIN_KEY": "s3cret"}, "--admin-listen", "[::]:0")
		_, port, err := net.SplitHostPort(s.admin)
		if err != nil {
			t.Fatal(err)
		}
		url := "http://127.0.0.1:" + port + "/last-id?channel=/a"
		if r := send(t, "GET", url, "", nil); r.status != 401 {
			t.Errorf("without the key: %d %s", r.status, r.body)
		}
		if r := send(t, "GET", url, "", http.Header{"Authorization": {"Bearer s3cret"}}); r.status != 200 {
			t.Errorf("with the key: %d %s", r.status, r.body)
		}
		if end := s.stop(); strings.Contains(end.stderr, "s3cret") {
			t.Errorf("the log tells the key:\n%s", end.stderr)
		}
	})
}

// waitHeld waits until so many requests are held.
func waitHeld(t *testing.T, s *running, n int) {
	t.Helper()
	waitHealth(t, s, "", fmt.Sprintf("%d requests are held", n), func(h healthAnswer) bool { return h.Held == n })
}

// waitLive waits until what is published would be delivered.
func waitLive(t *testing.T, s *running, key string) {
	t.Helper()
	waitHealth(t, s, key, "the feed is live", func(h healthAnswer) bool { return h.OK })
}

// waitHealth waits until the server says of itself, to who has the key, what is wanted.
func waitHealth(t *testing.T, s *running, key, want string, holds func(healthAnswer) bool) {
	t.Helper()
	retry := time.NewTicker(5 * time.Millisecond)
	defer retry.Stop()
	deadline := time.After(20 * time.Second)
	for {
		var health healthAnswer
		r := send(t, "GET", "http://"+s.admin+"/health", "", http.Header{"Authorization": {"Bearer " + key}})
		if err := json.Unmarshal([]byte(r.body), &health); err != nil {
			t.Fatal(err)
		}
		if holds(health) {
			return
		}
		select {
		case <-retry.C:
		case <-deadline:
			t.Fatalf("never came true that %s: %s", want, r.body)
		}
	}
}

func TestServe_IdentityHeader(t *testing.T) {
	t.Parallel()
	const me = `{"user":5,"groups":[1,"staff"],"site":"a"}`
	seen := func(s *running, identity ...string) string {
		header := form.Clone()
		if identity != nil {
			header["X-Messagebus-Identity"] = identity
		}
		r := send(t, "POST", "http://"+s.client+"/message-bus/me/poll?dlp=t", "/c=0", header)
		if r.status != 200 {
			return fmt.Sprint(r.status)
		}
		var messages []struct {
			Channel string
			Data    any
		}
		if err := json.Unmarshal([]byte(r.body), &messages); err != nil {
			t.Fatal(err)
		}
		var data []string
		for _, m := range messages {
			if m.Channel != "/__status" {
				data = append(data, fmt.Sprint(m.Data))
			}
		}
		return strings.Join(data, " ")
	}
	publishAll := func(s *running) {
		for _, body := range []string{
			`{"channel":"/c","data":"five","user_ids":[5],"site":"a"}`,
			`{"channel":"/c","data":"text","user_ids":["5"],"site":"a"}`,
			`{"channel":"/c","data":"staff","group_ids":["staff"],"site":"a"}`,
			`{"channel":"/c","data":"one","group_ids":["1"],"site":"a"}`,
			`{"channel":"/c","data":"other","site":"b"}`,
			`{"channel":"/c","data":"none"}`,
		} {
			publishVia(t, s, body)
		}
	}
	tests := []struct {
		args []string
		want map[string]string // by the header; empty: not sent
	}{
		{[]string{"--identity", "header"}, map[string]string{
			me: "five staff", `{"user":"5","site":"a"}`: "text", `{"site":"b"}`: "other", `{}`: "none", "": "none",
			`{"user":5`: "403", `{"user":5,"admin":true}`: "403", `{"site":"$|$"}`: "403", "x": "403",
		}},
		{[]string{"--identity", "header", "--trusted-proxies", "10.0.0.0/8,::2"}, map[string]string{
			me: "403", `{}`: "403", "x": "403", "": "none",
		}},
		{[]string{"--identity", "none"}, map[string]string{me: "none", "x": "none", "": "none"}},
	}
	for _, test := range tests {
		s := serve(t, nil, test.args...)
		publishAll(s)
		for identity, want := range test.want {
			var sent []string
			if identity != "" {
				sent = []string{identity}
			}
			if got := seen(s, sent...); got != want {
				t.Errorf("%q, header %s: sees %q, want %q", test.args, identity, got, want)
			}
		}
		if test.want[me] == "five staff" {
			if got := seen(s, me, me); got != "403" {
				t.Errorf("sent twice: %q", got)
			}
		}
	}
}

// A body that is sent too slowly is bounded by a deadline; that it is set and
// taken away again shows in a request that is held much longer than its body took.
func TestTimedBodies(t *testing.T) {
	t.Parallel()
	control := &recordedDeadlines{ResponseWriter: nil}
	body := func(text string) io.ReadCloser { return io.NopCloser(strings.NewReader(text)) }
	handler := timedBodies(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body) }))
	handler.ServeHTTP(control, &http.Request{Body: body("x")})
	if len(control.set) != 2 || control.set[0].IsZero() || !control.set[1].IsZero() {
		t.Errorf("the deadlines are %v; want one, and none", control.set)
	}
	handler.ServeHTTP(control, &http.Request{Body: http.NoBody})
	if len(control.set) != 2 {
		t.Errorf("a request without a body has a deadline")
	}
}

type recordedDeadlines struct {
	http.ResponseWriter

	set []time.Time
}

func (r *recordedDeadlines) SetReadDeadline(at time.Time) error {
	r.set = append(r.set, at)
	return nil
}

func TestCommands_ThroughAServer(t *testing.T) {
	t.Parallel()
	s := serve(t, environ{"MESSAGEBUS_ADMIN_KEY": "s3cret"})
	env := environ{"MESSAGEBUS_SERVER": "http://" + s.admin, "MESSAGEBUS_KEY": "s3cret"}
	steps := []struct {
		stdin string
		args  []string
		code  int
		out   string // of standard output, or in the error
	}{
		{"", []string{"publish", "/a", `{"x":"<b>"}`, "--users", `[1,"1"]`, "--groups", `["g"]`, "--clients", `["c"]`}, 0, `{"id":1}` + "\n"},
		{"", []string{"publish", "/a", "say \"hi\" <é>", "--text", "--site", "eu"}, 0, `{"id":2}` + "\n"},
		{"{\"from\":\n\"stdin\"}\n", []string{"publish", "/a", "-"}, 0, `{"id":3}` + "\n"},
		{"a line\n", []string{"publish", "/a", "-", "--text"}, 0, `{"id":4}` + "\n"},
		{"", []string{"publish", "/b", "--", "-5"}, 0, `{"id":5}` + "\n"},
		{"", []string{"publish", "/b", "6", "--max-backlog-size", "0"}, 0, `{"id":6}` + "\n"},
		{"", []string{"publish", "/c", "7", "--max-backlog-age", "0"}, 0, `{"id":7}` + "\n"},
		{"", []string{"publish", "/c", "8", "--max-backlog-age", "1ms"}, 0, `{"id":8}` + "\n"},
		{"", []string{"backlog", "/a"}, 0, `{"channel":"/a","id":1,"global_id":1,"data":{"x":"<b>"},"user_ids":[1,"1"],"group_ids":["g"],"client_ids":["c"]}` + "\n" +
			`{"channel":"/a","id":3,"global_id":3,"data":{"from":"stdin"}}` + "\n" + `{"channel":"/a","id":4,"global_id":4,"data":"a line"}` + "\n"},
		{"", []string{"backlog", "/a", "--site", "eu"}, 0, `{"channel":"/a","id":2,"global_id":2,"data":"say \"hi\" <é>","site":"eu"}` + "\n"},
		{"", []string{"backlog", "/a", "--after", "3"}, 0, `{"channel":"/a","id":4,"global_id":4,"data":"a line"}` + "\n"},
		{"", []string{"backlog", "/a", "--last", "1"}, 0, `{"channel":"/a","id":4,"global_id":4,"data":"a line"}` + "\n"},
		{"", []string{"backlog", "/b"}, 0, ""},
		{"", []string{"backlog", "/c"}, 0, `{"channel":"/c","id":8,"global_id":8,"data":8}` + "\n"},
		{"", []string{"last-id", "/a", "/nosuch"}, 0, `{"channel":"/a","last_id":4}` + "\n" + `{"channel":"/nosuch","last_id":0}` + "\n"},
		{"", []string{"publish", "/global/a", "1", "--users", "[1]"}, 2, "the server answered 400"},
		{"", []string{"publish", "", "1"}, 2, "channel: it is missing or empty"},
		{"", []string{"backlog", "/a$|$b"}, 2, "site separator"},
		{"", []string{"publish", "/a", "1", "--key", "wrong"}, 1, "the server answered 401: the admin key is missing or wrong"},
		{strings.Repeat("x", maxPublishBytes+1), []string{"publish", "/a", "-", "--text"}, 2, "too large"},
		{strings.Repeat("x", 8<<20), []string{"publish", "/a", "-", "--text"}, 2, "the server answered 413"},
	}
	for _, step := range steps {
		got := runWith(t, env, step.stdin, step.args...)
		if got.code != step.code {
			t.Errorf("%q: exit code %d, want %d: %s", step.args, got.code, step.code, got.stderr)
		}
		if step.code != 0 {
			checkErrorLine(t, got.stderr, step.out)
		} else if got.stdout != step.out {
			t.Errorf("%q: printed\n%swant\n%s", step.args, got.stdout, step.out)
		}
	}
}

func TestSubscribe_ThroughAServer(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	publishVia(t, s, `{"channel":"/a","data":1}`)
	r, err := newRemote("http://"+s.admin, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	first := followService(t, r, subscribeQuery{channels: []string{"/a", "/b"}, from: start{text: "last:5"}})
	second := followService(t, r, subscribeQuery{channels: []string{"/a"}, from: start{text: "0"}})
	for i, f := range []*follower{first, second} {
		if got := f.next(t); got != `{"channel":"/a","id":1,"global_id":1,"data":1}` {
			t.Errorf("%d: the backlog is %s", i, got)
		}
	}
	publishVia(t, s, `{"channel":"/b","data":2}`)
	if got := first.next(t); got != `{"channel":"/b","id":2,"global_id":2,"data":2}` {
		t.Errorf("live comes %s", got)
	}
	first.stop()
	if err := <-first.ended; err != nil {
		t.Errorf("stopped, it ended with %v", err)
	}
	s.stop()
	if err := <-second.ended; err == nil || err.Error() != "the server ended the subscription" {
		t.Errorf("when the server stopped it ended with %v", err)
	}
}

// A publish whose answer is lost may have been stored, and says so.
func TestPublish_ThroughAServerThatBreaksOff(t *testing.T) {
	t.Parallel()
	listener, err := listen(t.Context(), "127.0.0.1:0", environ{}.lookup)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = httputil.NewServerConn(conn, nil).Read() //nolint:staticcheck // reads one request, which is all that is needed
		conn.Close()
	}()
	got := runArgs(t, "publish", "/a", "1", "--server", "http://"+listener.Addr().String())
	if got.code != exitFailure {
		t.Errorf("exit code %d", got.code)
	}
	checkErrorLine(t, got.stderr, "the message may have been published")
}

func TestDemo_ServesThePage(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	reader, writer := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"demo", "--listen", "127.0.0.1:0"}, environ{}.lookup, strings.NewReader(""), writer, &stderr)
		writer.Close()
	}()
	line, err := bufio.NewReader(reader).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(line, "http://")
	address, _, _ := strings.Cut(rest, "/")
	if r := send(t, "GET", "http://"+address+"/", "", nil); r.status != 200 || !strings.Contains(r.body, "<html") {
		t.Errorf("the page: %d %.100s", r.status, r.body)
	}
	if r := send(t, "POST", "http://"+address+"/message-bus/me/poll?dlp=t", "/a=-1", form); r.status != 200 || !strings.Contains(r.body, "/__status") {
		t.Errorf("the bus: %d %s", r.status, r.body)
	}
	cancel()
	if got := <-code; got != exitDone || stderr.Len() > 0 {
		t.Errorf("it ended with %d: %s", got, stderr.String())
	}
}

// The program itself, in a process of its own, stopped by a real signal.
func TestProgram_SignalEndsItCleanly(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("there is no SIGTERM on Windows")
	}
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		program := startProgram(t, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
		address := ""
		for address == "" && program.stderr.Scan() {
			if found := logged.FindStringSubmatch(program.stderr.Text()); found != nil && found[1] == "clients" {
				address = found[2]
			}
		}
		stream := hold(t, address, "/message-bus/me/poll", "/a=0")
		stream.head(t)
		if got := stream.chunk(t); got != "[]"+separator {
			t.Errorf("the stream starts with %q", got)
		}
		if err := program.cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if last, end := stream.chunk(t), stream.chunk(t); last != "[]"+separator || end != "" {
			t.Errorf("the stream ends with %q and %q", last, end)
		}
		for program.stderr.Scan() {
		}
		if err := program.cmd.Wait(); err != nil {
			t.Errorf("%v: the program ended with %v", signal, err)
		}
	}
}

type program struct {
	cmd    *exec.Cmd
	stderr *bufio.Scanner
}

func startProgram(t *testing.T, args ...string) *program {
	t.Helper()
	return startCommand(t, exec.CommandContext(t.Context(), self(t), args...))
}

// self is the path of the test binary, which is the program itself for a command
// that startCommand starts.
func self(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func startCommand(t *testing.T, cmd *exec.Cmd, env ...string) *program {
	t.Helper()
	cmd.Env = append(append(os.Environ(), asProgram+"=1"), env...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &program{cmd, bufio.NewScanner(stderr)}
}

// A closed pipe would kill a program that does not care, by SIGPIPE.
func TestProgram_ClosedOutputEndsItQuietly(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	publishVia(t, s, `{"channel":"/a","data":1}`)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	cmd := exec.CommandContext(t.Context(), self(t), "subscribe", "/a", "--from", "0", "--server", "http://"+s.admin)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stdout = writer
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Errorf("it ended with %v: %s", err, stderr.String())
	}
	writer.Close()
}
