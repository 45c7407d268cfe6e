package rubycompat_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const httpRecording = "http.json"

// atOnceReplays is how many cases are replayed at a time: they wait for most of it.
const atOnceReplays = 48

// TestGoldenHTTP sends what was sent to the gem's server to ours, over real
// connections and at the same intervals, and compares what comes back and when.
func TestGoldenHTTP(t *testing.T) {
	t.Parallel()
	text := load[json.RawMessage](t, httpRecording)
	places := make(chan struct{}, atOnceReplays)
	var running sync.WaitGroup
	outcomes := make([]*replayed, len(text))
	for i := range text {
		c := new(httpCase)
		if err := json.Unmarshal(text[i], c); err != nil {
			t.Fatalf("case %d: %v", i, err)
		}
		c.normalise()
		r := &replayed{c: c, answers: make(map[string]*httpAnswer)}
		outcomes[i] = r
		server := startHTTP(t, c)
		running.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			r.run(t, server)
		})
	}
	running.Wait()
	for _, r := range outcomes {
		t.Run(r.c.Name, func(t *testing.T) { r.orAlone(t).judge(t) })
	}
}

// orAlone replays a case once more, with nothing beside it, where it came out
// otherwise than recorded: the recording tells events 60 ms apart, which a machine
// that is busy with hundreds of replays may not.
func (r *replayed) orAlone(t *testing.T) *replayed {
	t.Helper()
	if _, excepted := exceptionFor(t, httpRecording, r.c.Name); excepted || len(r.deviations()) == 0 {
		return r
	}
	t.Logf("replayed alone, for at first: %s", strings.Join(r.deviations(), "; "))
	again := &replayed{c: r.c, answers: make(map[string]*httpAnswer)}
	again.run(t, startHTTP(t, r.c))
	return again
}

// A replayed case is what came of it.
type replayed struct {
	c       *httpCase
	answers map[string]*httpAnswer
	events  []time.Time // when each step was taken
	hooks   []string
}

// run takes the steps of a case, and waits for every answer.
func (r *replayed) run(t *testing.T, server *httpServer) {
	t.Helper()
	start := time.Now()
	conns := make(map[string]net.Conn)
	var reading sync.WaitGroup
	for i := range r.c.Steps {
		step := &r.c.Steps[i]
		<-time.After(time.Until(start.Add(time.Duration(step.AtMs) * time.Millisecond)))
		switch {
		case step.Publish != nil:
			r.events = append(r.events, time.Now())
			server.publish(t, step.Publish)
		case step.Disconnect != "":
			r.events = append(r.events, time.Now())
			r.answers[step.Disconnect].cut = true
			conns[step.Disconnect].Close()
		default:
			conn := server.dial(t)
			defer conn.Close()
			a := &httpAnswer{opened: time.Now()}
			r.events = append(r.events, a.opened)
			conns[step.Open], r.answers[step.Open] = conn, a
			if _, err := io.WriteString(conn, step.Request.Raw.text); err != nil {
				t.Errorf("%s: send: %v", r.c.Name, err)
			}
			reading.Go(func() { readAnswer(t, conn, a, step.Request.Method) })
		}
	}
	reading.Wait()
	server.mu.Lock()
	defer server.mu.Unlock()
	r.hooks = server.hooks
}

// judge compares a replayed case with the recording, or with the rule by which it
// differs.
func (r *replayed) judge(t *testing.T) {
	deviations := r.deviations()
	e, excepted := exceptionFor(t, httpRecording, r.c.Name)
	switch {
	case !excepted && len(deviations) > 0:
		t.Fatalf("%s\n%s", r.c.What, strings.Join(deviations, "\n"))
	case excepted && e.Rule != ruleRubyOnly && len(deviations) == 0:
		t.Fatal("it comes out as recorded; take it out of golden/differences.json")
	case excepted:
		if check := httpRules[e.Rule]; check != nil {
			if wrong := check(r); wrong != "" {
				t.Fatalf("%s\nby the rule %s: %s\n%s", r.c.What, e.Rule, wrong, strings.Join(deviations, "\n"))
			}
		} else if e.Rule != ruleRubyOnly {
			t.Fatalf("the rule %q is none of this recording", e.Rule)
		}
	}
	count(httpRecording, e.Rule)
}

const ruleRubyOnly = "ruby-only"

// deviations lists what came otherwise than recorded.
func (r *replayed) deviations() []string {
	var found []string
	for _, label := range slices.Sorted(mapKeys(r.c.Responses)) {
		want, got := r.c.Responses[label], r.answers[label]
		for _, d := range r.compare(want, got) {
			found = append(found, label+": "+d)
		}
	}
	if want, got := comparableHooks(r.c.Hooks), r.hooks; !slices.Equal(want, got) {
		found = append(found, fmt.Sprintf("hooks %q, want %q", got, want))
	}
	return found
}

// comparableHooks leaves out the look-ups, which are one function in Go, and the
// classes of errors.
func comparableHooks(hooks []string) []string {
	var kept []string
	for _, hook := range hooks {
		name, _, _ := strings.Cut(hook, " ")
		switch name {
		case "filter":
			kept = append(kept, hook)
		case "on_middleware_error":
			kept = append(kept, name)
		}
	}
	return kept
}

// compare compares one answer with the recorded one.
func (r *replayed) compare(want *httpResponse, got *httpAnswer) []string {
	if got.problem != "" {
		return []string{got.problem}
	}
	if want.Status == nil {
		if got.status != 0 {
			return []string{fmt.Sprintf("status %d, want none", got.status)}
		}
		return nil
	}
	if got.status != *want.Status {
		return []string{fmt.Sprintf("status %d %s, want %d", got.status, got.body, *want.Status)}
	}
	if got.status == http.StatusInternalServerError {
		return nil // all else is the server's affair
	}
	found := compareHeaders(want, got)
	found = append(found, r.compareBody(want, got)...)
	if closed := want.ClosedByServer; heldAnswer(want) && closed != got.closed && !got.cut {
		found = append(found, fmt.Sprintf("closed by the server: %v, want %v", got.closed, closed))
	}
	return found
}

// heldAnswer reports whether the gem wrote an answer itself.
func heldAnswer(want *httpResponse) bool {
	return slices.ContainsFunc(want.HeaderLines, func(line [2]string) bool { return line[0] == "connection" })
}

// compareHeaders leaves out what the recording's server added, and ours.
func compareHeaders(want *httpResponse, got *httpAnswer) []string {
	var found []string
	for name, value := range want.Headers {
		if name == "content-length" || name == "connection" && !heldAnswer(want) {
			continue
		}
		if is := strings.Join(got.header.Values(name), ", "); is != value {
			found = append(found, fmt.Sprintf("header %s: %q, want %q", name, is, value))
		}
	}
	for name := range got.header {
		switch name {
		case "Date", "Content-Length", "Connection", "X-Accel-Buffering":
			continue
		}
		if _, ok := want.Headers[strings.ToLower(name)]; !ok && !onlyTypeIsMissing(want, name) {
			found = append(found, fmt.Sprintf("header %s was not recorded", name))
		}
	}
	return found
}

// onlyTypeIsMissing: net/http guesses a type for an answer of the application.
func onlyTypeIsMissing(want *httpResponse, name string) bool {
	return name == "Content-Type" && want.Headers["cache-control"] == "" && want.Headers["content-type"] == ""
}

func (r *replayed) compareBody(want *httpResponse, got *httpAnswer) []string {
	if got.chunked != (want.Chunks != nil) {
		return []string{fmt.Sprintf("in chunks: %v, want %v", got.chunked, want.Chunks != nil)}
	}
	if got.chunked {
		return r.compareChunks(want, got)
	}
	var found []string
	if want.JSON.value != nil {
		if d := difference(want.JSON.value, parse([]byte(got.body))); d != "" {
			found = append(found, "body: "+d)
		}
	} else if want.RawBody.long == nil && want.RawBody.text != got.body {
		found = append(found, fmt.Sprintf("body %q, want %q", got.body, want.RawBody.text))
	}
	classes := r.classesOf(got, got.complete)
	if !slices.ContainsFunc(classes, func(class string) bool { return sameClass(want.Duration, class) }) {
		found = append(found, fmt.Sprintf("it came %s, want %s", classes, want.Duration))
	}
	return found
}

// sameClass compares the duration of an answer that came in one with when it came.
func sameClass(duration, class string) bool {
	switch duration {
	case "at once", "cut by the client":
		return class == "at once"
	case "held until timeout":
		return class == "at timeout"
	default:
		return strings.HasPrefix(class, "after event ")
	}
}

func (r *replayed) compareChunks(want *httpResponse, got *httpAnswer) []string {
	arrays, at := got.parts()
	var found []string
	if len(arrays) != len(want.Chunks) {
		found = append(found, fmt.Sprintf("%d parts, want %d: %q", len(arrays), len(want.Chunks), arrays))
	}
	for i := range min(len(arrays), len(want.Chunks)) {
		if d := difference(want.Chunks[i].JSON.value, parse([]byte(arrays[i]))); d != "" {
			found = append(found, fmt.Sprintf("part %d: %s", i, d))
		}
		if classes := r.classesOf(got, at[i]); !slices.Contains(classes, want.Chunks[i].Came) {
			found = append(found, fmt.Sprintf("part %d came %s, want %s", i, classes, want.Chunks[i].Came))
		}
	}
	if got.terminated != want.Terminated {
		found = append(found, fmt.Sprintf("terminated: %v, want %v", got.terminated, want.Terminated))
	}
	return found
}

// Events less than burst apart may count as the last of them.
const burst = 60

// classesOf says in the words of the recording when something came on a
// connection.
func (r *replayed) classesOf(got *httpAnswer, at time.Time) []string {
	const slack = 20 * time.Millisecond
	if at.Sub(got.opened) >= r.hold()-slack {
		return []string{"at timeout"}
	}
	last := 0
	for i, event := range r.events {
		if !event.After(at) {
			last = i
		}
	}
	var classes []string
	for more := true; more; last++ {
		class := fmt.Sprintf("after event %d", last)
		if r.events[last].Equal(got.opened) {
			class = "at once"
		}
		classes = append(classes, class)
		more = last+1 < len(r.events) && r.c.Steps[last+1].AtMs-r.c.Steps[last].AtMs < burst
	}
	return classes
}

// hold is how long the server holds requests.
func (r *replayed) hold() time.Duration {
	var ms int
	_ = json.Unmarshal(r.c.Config["long_polling_interval_ms"], &ms) // every case has it
	return time.Duration(ms) * time.Millisecond
}

// TestGoldenHTTP_EveryRuleIsNeeded finds rules that no case follows any more.
func TestGoldenHTTP_EveryRuleIsNeeded(t *testing.T) {
	t.Parallel()
	all, err := differences()
	if err != nil {
		t.Fatal(err)
	}
	for rule := range httpRules {
		used := false
		for _, e := range all[httpRecording] {
			used = used || e.Rule == rule
		}
		if !used {
			t.Errorf("no case follows the rule %s", rule)
		}
	}
}
