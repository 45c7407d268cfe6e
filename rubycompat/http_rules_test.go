package rubycompat_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// httpRules check what comes in place of the recording, by rule. Empty: it is right.
var httpRules = map[string]func(*replayed) string{
	"bad-input-refused":        (*replayed).refusedInOneLine,
	"name-refused":             (*replayed).refusedInOneLine,
	"undecodable-name-refused": (*replayed).nothing,
	"head-at-once":             (*replayed).headAtOnce,
	"own-requests-only":        (*replayed).nobodyReplaced,
	"winner-stays":             (*replayed).everythingCame,
	"place-free-at-once":       (*replayed).othersHeld,
	"withheld-told-at-end":     (*replayed).endsWithStatus,
	"filter-panic-withholds":   (*replayed).withheldAtOnce,
	"undecodable-skipped":      (*replayed).withheldAtOnce,
	"global-live":              (*replayed).everythingCame,
	"data-as-stored":           (*replayed).dataAsStored,
}

func mapKeys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }

// deviating are those of the answers that were recorded otherwise.
func (r *replayed) deviating() []*httpAnswer {
	var found []*httpAnswer
	for label, want := range r.c.Responses {
		if got := r.answers[label]; len(r.compare(want, got)) > 0 {
			found = append(found, got)
		}
	}
	return found
}

// refusedInOneLine: a status 400 and a reason that a person can read.
func (r *replayed) refusedInOneLine() string {
	for _, a := range r.deviating() {
		if a.status != http.StatusBadRequest || a.body == "" || strings.ContainsAny(a.body, "\r\n") ||
			!strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
			return fmt.Sprintf("%d %v %q is no refusal", a.status, a.header, a.body)
		}
	}
	return ""
}

// nothing: the channel counts as none.
func (r *replayed) nothing() string {
	for _, a := range r.deviating() {
		if a.status != http.StatusOK || a.body != "[]" {
			return fmt.Sprintf("%d %q", a.status, a.body)
		}
	}
	return ""
}

// headAtOnce: the head of an answer at once, and no body.
func (r *replayed) headAtOnce() string {
	for _, a := range r.deviating() {
		if a.status != http.StatusOK || a.chunked || a.body != "" || a.problem != "" ||
			!slices.Contains(r.classesOf(a, a.complete), "at once") {
			return fmt.Sprintf("%+v", a)
		}
	}
	return ""
}

// nobodyReplaced: every request is held to its end, though the client ids are equal.
func (r *replayed) nobodyReplaced() string {
	for label, a := range r.answers {
		_, at := a.parts()
		if len(at) == 0 || !slices.Contains(r.classesOf(a, at[len(at)-1]), "at timeout") {
			return label + " ended before its time"
		}
	}
	return ""
}

// everythingCame: each message that was published while a request was held for its
// channel is in the answer, after the event that published it.
func (r *replayed) everythingCame() string {
	for i, step := range r.c.Steps {
		if step.Publish == nil {
			continue
		}
		if !r.hasCome(step.Publish, i) {
			return fmt.Sprintf("the message of event %d reached nobody", i)
		}
	}
	return ""
}

func (r *replayed) hasCome(p *httpPublish, event int) bool {
	for _, a := range r.deviating() {
		arrays, at := a.parts()
		for i, array := range arrays {
			for _, m := range wireMessages(array) {
				if m.Channel == p.Channel && string(m.Data) == string(p.Data) && !at[i].Before(r.events[event]) {
					return true
				}
			}
		}
	}
	return false
}

// othersHeld: the place of one that left is taken by the next one.
func (r *replayed) othersHeld() string {
	held := 0
	for _, a := range r.answers {
		if !a.cut && a.chunked {
			held++
		}
	}
	if held == 0 {
		return "nobody was held"
	}
	return ""
}

// endsWithStatus: the last words of a request are its status, at the time of the
// recorded end.
func (r *replayed) endsWithStatus() string {
	for _, a := range r.deviating() {
		arrays, at := a.parts()
		messages := wireMessages(arrays[len(arrays)-1])
		if len(messages) != 1 || messages[0].Channel != "/__status" || !slices.Contains(r.classesOf(a, at[len(at)-1]), "at timeout") {
			return fmt.Sprintf("the last part is %s", arrays[len(arrays)-1])
		}
	}
	return ""
}

// withheldAtOnce: what can be read and passes comes, and a status for the rest.
func (r *replayed) withheldAtOnce() string {
	for _, a := range r.deviating() {
		messages := wireMessages(a.body)
		if a.status != http.StatusOK || len(messages) == 0 || messages[len(messages)-1].Channel != "/__status" {
			return fmt.Sprintf("%d %s", a.status, a.body)
		}
	}
	return ""
}

// dataAsStored: what is in an envelope stands in the answer byte by byte.
func (r *replayed) dataAsStored() string {
	for _, p := range r.c.Before {
		_, text := p.stored()
		var envelope struct {
			Data json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal([]byte(text), &envelope); err != nil {
			continue
		}
		found := slices.ContainsFunc(r.deviating(), func(a *httpAnswer) bool {
			arrays, _ := a.parts()
			return slices.ContainsFunc(arrays, func(s string) bool { return strings.Contains(s, `"data":`+string(envelope.Data)+"}") })
		})
		if !found {
			return fmt.Sprintf("%s does not stand in an answer", envelope.Data)
		}
	}
	return ""
}

// A wireMessage is a message of an answer.
type wireMessage struct {
	Channel string          `json:"channel"`
	Data    json.RawMessage `json:"data"`
}

// wireMessages reads a part; none, where it is no array of messages.
func wireMessages(array string) []wireMessage {
	var messages []wireMessage
	if json.Unmarshal([]byte(array), &messages) != nil {
		return nil
	}
	return messages
}
