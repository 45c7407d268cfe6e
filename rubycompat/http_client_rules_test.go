package rubycompat_test

import (
	"encoding/json"
	"fmt"
	"strings"
)

// clientRules rewrite what is wanted of a client, by rule.
var clientRules = map[string]func(*clientCase){
	"ruby-only": func(c *clientCase) {
		c.Steps, c.Hooks, c.Requests, c.Callbacks = nil, nil, nil, nil
	},
	"polls-with-dlp": func(c *clientCase) {
		for i := range c.Requests {
			c.Requests[i].Line = strings.Replace(c.Requests[i].Line, "/poll", "/poll?dlp=t", 1)
		}
	},
	"base-path-kept": func(c *clientCase) {
		c.BasePath, _, _ = strings.Cut(c.BasePath, "?")
		for i := range c.Requests {
			c.Requests[i].Line = strings.Replace(c.Requests[i].Line, "/message-bus", c.BasePath+"message-bus", 1)
		}
	},
	"every-part-read": everyMessageOnce,
	"no-repeats":      everyMessageOnce,
	"only-200": func(c *clientCase) {
		c.Callbacks = nil
		for i := range c.Requests {
			c.Requests[i].Body = c.Requests[0].Body
		}
	},
	"stop-ends-request":       func(c *clientCase) { c.Callbacks = nil },
	"changes-restart":         changesRestart,
	"subscription-has-its-id": ownPositions,
}

// everyMessageOnce: the callback gets each message of the answers that is new, and the next
// request asks from behind it.
func everyMessageOnce(c *clientCase) {
	c.Callbacks = nil
	newest := int64(0)
	for i, a := range c.Answers {
		for _, m := range messagesOf(&a) {
			if m.GlobalID <= newest {
				continue
			}
			newest = m.GlobalID
			c.Callbacks = append(c.Callbacks, clientCallback{"A", m.Data, m.ID, m.GlobalID, i + 1})
			for j := i + 1; j < len(c.Requests); j++ {
				c.Requests[j].Body = fmt.Sprintf(`{"/a":%d}`, m.ID)
			}
		}
	}
}

type answeredMessage struct {
	ID       int64 `json:"message_id"`
	GlobalID int64 `json:"global_id"`
	Data     any   `json:"data"`
}

// messagesOf reads the messages that stand whole in the segments of an answer.
func messagesOf(a *clientAnswer) []answeredMessage {
	var found []answeredMessage
	text := strings.Join(a.Segments, "")
	for rest := text; ; {
		start := strings.Index(rest, `{"global_id"`)
		if start < 0 {
			return found
		}
		rest = rest[start:]
		var m answeredMessage
		if json.NewDecoder(strings.NewReader(rest)).Decode(&m) == nil {
			found = append(found, m)
		}
		rest = rest[1:]
	}
}

// changesRestart: what was subscribed or unsubscribed while a request is held makes it start
// anew, and the answer is one to the next.
func changesRestart(c *clientCase) {
	switch c.Name {
	case "unsubscribe-channel":
		c.Requests[1].Body = `{"/b":1}`
		c.Callbacks[0].During = 2
	case "unsubscribe-callback":
		c.Requests[1].Body, c.Callbacks = `{"/a":-1}`, nil
	}
}

// ownPositions: of two subscriptions to a channel the one without an id goes first, with
// requests that are not held, and gets what comes; then the other one is served.
func ownPositions(c *clientCase) {
	for i, channels := range []string{`{"/a":-1,"/b":0}`, `{"/a":-1,"/b":0}`, `{"/a":0,"/b":1}`} {
		c.Requests[i].Body = channels
		if i < 2 {
			c.Requests[i].Line = strings.Replace(c.Requests[i].Line, "/poll", "/poll?dlp=t", 1)
		}
	}
	c.Callbacks = []clientCallback{{"A2", "x", 1, 1001, 2}, {"B", "y", 1, 1001, 2}, {"A2", "z", 2, 1002, 2}}
}
