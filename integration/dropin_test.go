package integration_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/messagebus-go/messagebus/integration/browser"
)

// A script is a server that does with every poll what the page tells it to.
type script struct {
	mu       sync.Mutex
	arrived  chan *scriptedPoll
	polls    map[int]*scriptedPoll // guarded by mu
	sequence int                   // guarded by mu
}

type scriptedPoll struct {
	ID      int               `json:"id"`
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`

	steps chan scriptStep
	done  chan struct{} // closed when the step is done
	gone  chan struct{} // closed when the client has ended the request
}

type scriptStep struct {
	ID      int               `json:"id"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Text    string            `json:"text"`
	End     bool              `json:"end"`
	Cut     bool              `json:"cut"`
}

func newScript() *script {
	return &script{arrived: make(chan *scriptedPoll, 100), polls: map[int]*scriptedPoll{}}
}

// notCompared are headers that belong to the connection, to the page's address,
// or follow from others.
var notCompared = []string{"Content-Length", "Referer", "Connection", "Accept-Encoding", "User-Agent", "Origin"}

func (s *script) poll(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has ended it already
	}
	p := &scriptedPoll{
		Method: r.Method, Path: r.URL.RequestURI(), Headers: map[string]string{}, Body: string(body),
		steps: make(chan scriptStep), done: make(chan struct{}), gone: make(chan struct{}),
	}
	defer close(p.gone)
	for name, values := range r.Header {
		if !slices.Contains(notCompared, name) && !strings.HasPrefix(name, "Sec-") {
			p.Headers[name] = strings.Join(values, ", ")
		}
	}
	s.mu.Lock()
	s.sequence++
	p.ID = s.sequence
	s.polls[p.ID] = p
	s.mu.Unlock()
	s.arrived <- p
	for {
		select {
		case step := <-p.steps:
			over := step.perform(w)
			p.done <- struct{}{}
			if over {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

func (step *scriptStep) perform(w http.ResponseWriter) (over bool) {
	if step.Cut {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
		return true
	}
	for name, value := range step.Headers {
		w.Header().Set(name, value)
	}
	if step.Status != 0 {
		w.WriteHeader(step.Status)
	}
	io.WriteString(w, step.Text)
	w.(http.Flusher).Flush()
	return step.End
}

// control is what the page calls.
func (s *script) control(w http.ResponseWriter, r *http.Request) {
	var step scriptStep
	if err := json.NewDecoder(r.Body).Decode(&step); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	p := s.polls[step.ID]
	s.mu.Unlock()
	var answer any = struct{}{}
	switch r.PathValue("verb") {
	case "next":
		select {
		case next := <-s.arrived:
			answer = next
		case <-r.Context().Done():
			return
		}
	case "answer":
		select {
		case p.steps <- step:
			<-p.done
		case <-p.gone:
			http.Error(w, fmt.Sprintf("request %d is over", step.ID), http.StatusConflict)
			return
		}
	case "gone":
		select {
		case <-p.gone:
		case <-r.Context().Done():
			return
		}
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// startScripts serves pages each of which has a script of its own.
func startScripts(t *testing.T) (address string) {
	t.Helper()
	var mu sync.Mutex
	scripts := map[string]*script{}
	of := func(page string) *script {
		mu.Lock()
		defer mu.Unlock()
		if scripts[page] == nil {
			scripts[page] = newScript()
		}
		return scripts[page]
	}
	mux := http.NewServeMux()
	poll := func(w http.ResponseWriter, r *http.Request) {
		referer, err := url.Parse(r.Referer())
		if err != nil {
			t.Errorf("referer: %v", err)
			return
		}
		of(referer.Query().Get("page")).poll(w, r)
	}
	mux.HandleFunc("/message-bus/", poll)
	mux.HandleFunc("/forum/message-bus/", poll)
	mux.HandleFunc("POST /script/{verb}", func(w http.ResponseWriter, r *http.Request) {
		of(r.URL.Query().Get("page")).control(w, r)
	})
	mux.Handle("/npm/", http.StripPrefix("/npm", http.FileServer(http.Dir("node_modules"))))
	mux.Handle("/client/", http.StripPrefix("/client", http.FileServer(http.Dir(filepath.Join("..", "jsclient", "dist")))))
	mux.Handle("/", http.FileServer(http.Dir("testdata")))
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// What a page has noted.
type pageNotes struct {
	Requests []scriptedPoll `json:"requests"`
	Calls    [][]any        `json:"calls"`
	Notes    [][]any        `json:"notes"`
	Failed   string         `json:"failed"`
}

// flat lists all that was noted by where it stands. __pos stands apart from the
// rest of a body.
func (n *pageNotes) flat(t *testing.T) map[string]string {
	all := map[string]string{}
	add := func(value any, format string, args ...any) {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		all[fmt.Sprintf(format, args...)] = string(text)
	}
	for i, r := range n.Requests {
		add(r.Method, "requests[%d].method", i)
		add(r.Path, "requests[%d].path", i)
		for name, value := range r.Headers {
			add(value, "requests[%d].headers.%s", i, name)
		}
		var body []string
		for field := range strings.SplitSeq(r.Body, "&") {
			if marks, ok := strings.CutPrefix(field, "__pos="); ok {
				add(marks, "requests[%d].body.__pos", i)
				continue
			}
			body = append(body, field)
		}
		add(body, "requests[%d].body", i)
	}
	for i, call := range n.Calls {
		add(call, "calls[%d]", i)
	}
	times := map[any]int{}
	for _, note := range n.Notes {
		times[note[0]]++
		add(note[1], "notes.%v %d", note[0], times[note[0]])
	}
	add(n.Failed, "failed")
	return all
}

// An improvement is where the drop-in does something else than the gem's client,
// on purpose.
type improvement struct {
	Scenario string `json:"scenario"` // a regular expression
	Where    string `json:"where"`    // a regular expression
	Why      string `json:"why"`

	used bool
}

func loadImprovements(t *testing.T) []*improvement {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "jsclient", "improvements.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Compared []*improvement }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	return file.Compared
}

func (i *improvement) allows(scenario, where string) bool {
	return regexp.MustCompile("^(?:"+i.Scenario+")$").MatchString(scenario) && regexp.MustCompile("^(?:"+i.Where+")$").MatchString(where)
}

// withoutJQuery are the scenarios in which it matters what sends the requests.
var withoutJQuery = []string{"stream", "longPolling", "wholeAnswerToAStream", "headers", "subscribeWhileHeld", "stopAndStart", "refusals", "cutInAPart", "nothingInTime"}

func TestDropIn_DoesWhatTheGemsClientDoes(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(filepath.Join("node_modules", "message-bus-client")); err != nil {
		t.Fatal(`the gem's own client is not installed; run "scripts/setup.sh test", or "npm ci" in the folder integration`)
	}
	address := startScripts(t)
	b := browser.Start(t)
	list := b.Open(t, "list", browser.Options{})
	list.Visit(address + "/dropin/page.html?client=gem&ajax=jquery")
	scenarios := browser.Eval[[]string](list, "Object.keys(scenarios)")

	var mu sync.Mutex
	var blurred []played
	improvements := loadImprovements(t)
	t.Run("scenarios", func(t *testing.T) {
		for _, ajax := range []string{"jquery", "adapter"} {
			for _, scenario := range scenarios {
				if ajax == "adapter" && !slices.Contains(withoutJQuery, scenario) {
					continue
				}
				p := played{scenario, ajax}
				t.Run(p.name(), func(t *testing.T) {
					t.Parallel()
					gem, ours := p.twice(t, b, address)
					mu.Lock()
					defer mu.Unlock()
					if len(compareNotes(p.name(), gem, ours, improvements)) > 0 {
						blurred = append(blurred, p)
					}
				})
			}
		}
	})
	// Some are about times, which a busy machine blurs: what differs is played again, alone.
	for _, p := range blurred {
		t.Run("alone "+p.name(), func(t *testing.T) { p.alone(t, b, address, improvements) })
	}
	for _, i := range improvements {
		if !i.used {
			t.Errorf("improvements.json: nothing differs any more in %q at %q (%s)", i.Scenario, i.Where, i.Why)
		}
	}
}

// played is a scenario and what sends its requests.
type played struct{ scenario, ajax string }

func (p played) name() string { return p.ajax + " " + p.scenario }

func (p played) twice(t *testing.T, b *browser.Browser, address string) (gem, ours map[string]string) {
	t.Helper()
	return playScenario(t, b, address, p.scenario, p.ajax, "gem"), playScenario(t, b, address, p.scenario, p.ajax, "ours")
}

// alone plays a scenario until both clients do the same, a few times.
func (p played) alone(t *testing.T, b *browser.Browser, address string, improvements []*improvement) {
	t.Helper()
	const tries = 4
	var differences []string
	for range tries {
		gem, ours := p.twice(t, b, address)
		if differences = compareNotes(p.name(), gem, ours, improvements); len(differences) == 0 {
			return
		}
	}
	for _, d := range differences {
		t.Error(d)
	}
}

// plays tells the scripts of the same scenario apart.
var plays atomic.Int64

func playScenario(t *testing.T, b *browser.Browser, address, scenario, ajax, client string) map[string]string {
	t.Helper()
	name := fmt.Sprintf("%s-%s-%s-%d", scenario, ajax, client, plays.Add(1))
	w := b.Open(t, name, browser.Options{})
	w.Visit(fmt.Sprintf("%s/dropin/page.html?client=%s&ajax=%s&scenario=%s&page=%s", address, client, ajax, scenario, name))
	w.WaitFor("globalThis.done")
	notes := browser.Eval[pageNotes](w, "seen")
	w.Visit("about:blank")
	return notes.flat(t)
}

// compareNotes returns the differences that are no improvements.
func compareNotes(name string, gem, ours map[string]string, improvements []*improvement) (differences []string) {
	all := maps.Clone(gem)
	maps.Copy(all, ours)
	for _, where := range slices.Sorted(maps.Keys(all)) {
		if gem[where] == ours[where] {
			continue
		}
		allowed := false
		for _, i := range improvements {
			if i.allows(name, where) {
				allowed, i.used = true, true
			}
		}
		if !allowed {
			differences = append(differences, fmt.Sprintf("%s: %s is\n\t%s with the gem's client,\n\t%s with ours", name, where, orNothing(gem[where]), orNothing(ours[where])))
		}
	}
	return differences
}

func orNothing(text string) string {
	if text == "" {
		return "nothing"
	}
	return text
}
