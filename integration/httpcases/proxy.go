package httpcases

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
)

type httpHandler = http.Handler

// A doubler sends every request twice, as a proxy does that tries again; the answer is that of
// either.
type doubler struct {
	target string
	work   sync.WaitGroup

	mu sync.Mutex // guards n
	n  int
}

// ServeHTTP implements http.Handler.
func (d *doubler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d.mu.Lock()
	d.n++
	before := d.n%3 != 0
	d.mu.Unlock()
	twin := func() {
		if response, err := again(r, d.target, body); err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
	}
	if before {
		d.work.Go(twin)
	}
	response, err := again(r, d.target, body)
	if err != nil {
		abort()
	}
	defer response.Body.Close()
	if !before {
		d.work.Go(twin)
	}
	pass(w, response)
}

func (d *doubler) close() { d.work.Wait() }

// A disorderer answers some requests with what an earlier one was answered.
type disorderer struct {
	target string

	mu       sync.Mutex // guards below
	old      map[string]*recorded
	striking int
}

// recorded is the head and the beginning of an answer.
type recorded struct {
	header http.Header
	body   bytes.Buffer
}

// strike has the next two requests answered wrongly.
func (d *disorderer) strike() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.striking = 2
}

func (d *disorderer) close() {}

// ServeHTTP implements http.Handler.
func (d *disorderer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	way := strings.Join([]string{r.Method, r.URL.Path, r.URL.RawQuery[:min(len(r.URL.RawQuery), 5)], r.Header.Get("Dont-Chunk")}, " ")
	d.mu.Lock()
	old := d.old[way]
	if d.striking > 0 && old != nil {
		d.striking--
		header, text := old.header, bytes.Clone(old.body.Bytes())
		d.mu.Unlock()
		copyHeader(w, header)
		_, _ = w.Write(text)
		return
	}
	d.mu.Unlock()
	response, err := again(r, d.target, body)
	if err != nil {
		abort()
	}
	defer response.Body.Close()
	kept := &recorded{header: response.Header}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.TeeReader(response.Body, &kept.body), response.Body}
	pass(w, response)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.old == nil {
		d.old = map[string]*recorded{}
	}
	if kept.body.Len() > 100 { // it had messages
		d.old[way] = kept
	}
}

// again sends a request to target; it ends with the one that it came from.
func again(r *http.Request, target string, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+target+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header = r.Header.Clone()
	return http.DefaultTransport.RoundTrip(request)
}

func copyHeader(w http.ResponseWriter, header http.Header) {
	for name, values := range header {
		if name != "Connection" && name != "Content-Length" {
			w.Header()[name] = values
		}
	}
}

// abort breaks the connection.
func abort() { panic(http.ErrAbortHandler) } //nolint:forbidigo // it is how net/http is told

// pass passes an answer on, piece by piece.
func pass(w http.ResponseWriter, response *http.Response) {
	copyHeader(w, response.Header)
	w.WriteHeader(response.StatusCode)
	_ = http.NewResponseController(w).Flush()
	b := make([]byte, 32<<10)
	for {
		n, err := response.Body.Read(b)
		_, _ = w.Write(b[:n])
		_ = http.NewResponseController(w).Flush()
		if err == io.EOF {
			return
		}
		if err != nil {
			abort()
		}
	}
}
