package rubycompat_test

import (
	"encoding/json"
	"fmt"
)

// golden/http_client.json has what the gem's own Ruby client asks, and what it makes of
// answers: each case is one client, and a server that answers by a script.

// A clientCase is one case.
type clientCase struct {
	Name      string                      `json:"name"`
	Options   clientOptions               `json:"options"`
	BasePath  string                      `json:"base_path"`
	Answers   []clientAnswer              `json:"answers"`
	Hooks     map[string][]clientAction   `json:"hooks"` // run at the n-th request, or "after-n"
	Steps     []clientStep                `json:"steps"` // first those of the case, then those of its hooks
	Requests  []clientRequest             `json:"requests"`
	Callbacks []clientCallback            `json:"callbacks"`
	Waits     []struct{ Seconds float64 } `json:"waits"` // where there is no server
}

type clientOptions struct {
	Min         float64           `json:"min_poll_interval"`
	Max         float64           `json:"max_poll_interval"`
	Background  float64           `json:"background_callback_interval"`
	LongPolling *bool             `json:"enable_long_polling"`
	Chunked     *bool             `json:"enable_chunked_encoding"`
	Headers     map[string]string `json:"headers"`
}

// A clientAction is the name of a method and its arguments.
type clientAction []any

type clientStep struct {
	Step    clientAction `json:"step"`
	Returns any          `json:"returns"`
}

// A clientAnswer is the bytes of an answer, as they were sent.
type clientAnswer struct {
	Segments []string `json:"segments"`
	Encoded  [][]byte `json:"segments_base64"`
}

func (a *clientAnswer) pieces() [][]byte {
	if a.Encoded != nil {
		return a.Encoded
	}
	pieces := make([][]byte, len(a.Segments))
	for i, s := range a.Segments {
		pieces[i] = []byte(s)
	}
	return pieces
}

type clientRequest struct {
	Line    string      `json:"line"`
	Headers [][2]string `json:"headers"` // of the first alone
	Body    string      `json:"body"`
}

// channels is the body without what a client of ours adds.
func (r *clientRequest) channels() map[string]any {
	var body map[string]any
	if err := json.Unmarshal([]byte(r.Body), &body); err != nil {
		return map[string]any{"": err.Error()}
	}
	delete(body, "__seq")
	delete(body, "__pos")
	return body
}

type clientCallback struct {
	Name     string `json:"callback"`
	Data     any    `json:"data"`
	ID       int64  `json:"message_id"`
	GlobalID int64  `json:"global_id"`
	During   int    `json:"during_request"`
}

// initial are the steps that no hook runs.
func (c *clientCase) initial() []clientStep {
	hooked := 0
	for _, actions := range c.Hooks {
		hooked += len(actions)
	}
	return c.Steps[:max(0, len(c.Steps)-hooked)]
}

// String names a callback, what it was called with, and when.
func (c *clientCallback) String() string {
	return fmt.Sprintf("%s %d/%d %v in request %d", c.Name, c.ID, c.GlobalID, c.Data, c.During)
}
