package rubycompat_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A story is one case of redis.json or postgres.json: steps on an empty server.
type story struct {
	name, what string
	buses      []busSettings
	steps      []step
}

// busSettings are those of one MessageBus::Instance.
type busSettings struct {
	name string
	members
}

// A step is what is done, and what was seen then.
type step struct {
	op   string
	in   members
	want object
}

// outcomes are the members of a step that are compared. The commands and statements
// by which a step came about are not, nor is what Ruby logged.
var outcomes = []string{"returns", "error", "published", "notified", "keys", "rows", "schema", "messages"}

// ignored are the members of a step that are neither input nor compared.
var ignored = []string{"op", "commands", "statements", "log"}

func (s *story) UnmarshalJSON(b []byte) error {
	var recorded struct {
		Name  string          `json:"name"`
		What  string          `json:"what"`
		Buses json.RawMessage `json:"buses"`
		Steps []members       `json:"steps"`
	}
	if err := json.Unmarshal(b, &recorded); err != nil {
		return fmt.Errorf("story: %w", err)
	}
	s.name, s.what = recorded.Name, recorded.What
	for _, m := range recorded.Steps {
		s.steps = append(s.steps, newStep(m))
	}
	var err error
	s.buses, err = inOrder(recorded.Buses)
	return err
}

func newStep(m members) step {
	s := step{op: m.text("op"), in: members{}, want: object{}}
	for name, raw := range m {
		switch {
		case name == "messages" && s.op == "queued":
			// What waits is seen when it is published; until then it is counted.
			waiting, _ := parse(raw).([]any)
			s.want["queued"] = number(len(waiting))
		case slices.Contains(ignored, name):
		case slices.Contains(outcomes, name):
			s.want[name] = parse(raw)
		default:
			s.in[name] = raw
		}
	}
	return s
}

// inOrder reads the buses; the first is the one that steps mean which name none.
func inOrder(raw json.RawMessage) ([]busSettings, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if _, err := decoder.Token(); err != nil {
		return nil, fmt.Errorf("buses: %w", err)
	}
	var buses []busSettings
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, fmt.Errorf("buses: %w", err)
		}
		b := busSettings{name: fmt.Sprint(name)}
		if err := decoder.Decode(&b.members); err != nil {
			return nil, fmt.Errorf("bus %s: %w", b.name, err)
		}
		buses = append(buses, b)
	}
	return buses, nil
}

// A server is where a story is played.
type server interface {
	// open makes a peer with the settings of a bus; reason says which of them Go
	// does not have.
	open(settings busSettings) (peer driver.Backend, reason string)

	// announced returns what was announced since it was called last.
	announced() object

	// do carries out a step that concerns the server alone; false: no such op.
	do(op string, in members) (outcome object, known bool)
}

// replayStories plays every story of a recording, each on a server of its own.
func replayStories(t *testing.T, recording string, postgres bool, start func(*testing.T, *story) server) {
	t.Helper()
	for _, s := range load[*story](t, recording) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			wanted := s
			e, excepted := exceptionFor(t, recording, s.name)
			if excepted {
				wanted = amendedBy(t, e.Rule, s, postgres)
			}
			got := play(t, wanted, start(t, s))
			asWanted, asRecorded := wanted.deviations(got), s.deviations(got)
			switch {
			case len(asWanted) > 0 && excepted:
				t.Fatalf("%s\nnot by the rule %s (%s)\n%s", s.what, e.Rule, rulesText(e), strings.Join(asWanted, "\n"))
			case len(asWanted) > 0:
				t.Fatalf("%s\n%s%s", s.what, strings.Join(asWanted, "\n"), hint(s, got, postgres))
			case excepted && len(asRecorded) == 0:
				t.Fatal("it comes out as recorded; take it out of golden/differences.json")
			}
			count(recording, e.Rule)
		})
	}
}

// hint names the rules by which a result would be right.
func hint(s *story, got result, postgres bool) string {
	var fit []string
	for name, rule := range storyRules {
		if rule.about(s) && name != "ruby-only" && len(rule.amended(s, postgres).deviations(got)) == 0 {
			fit = append(fit, name)
		}
	}
	if len(fit) == 0 {
		return ""
	}
	slices.Sort(fit)
	return "\nit would be right by the rule " + strings.Join(fit, " or ")
}

func rulesText(e exception) string { return rules[e.Rule] + "; " + e.Why }

// clone copies a story so far that the wants can be changed.
func (s *story) clone() *story {
	c := *s
	c.steps = slices.Clone(s.steps)
	for i := range c.steps {
		c.steps[i].want = copyOf(s.steps[i].want).(object)
	}
	return &c
}

func copyOf(v any) any {
	switch v := v.(type) {
	case object:
		c := object{}
		for name, is := range v {
			c[name] = copyOf(is)
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i := range v {
			c[i] = copyOf(v[i])
		}
		return c
	default:
		return v
	}
}

// A result is what came of a story.
type result struct {
	steps    []object
	leftover map[string][]any // by subscriber
}

// deviations lists where a result is not what the story wants.
func (s *story) deviations(got result) []string {
	var found []string
	for i, st := range s.steps {
		for _, d := range st.deviations(got.steps[i]) {
			found = append(found, fmt.Sprintf("step %d, %s: %s", i, st.describe(), d))
		}
	}
	for name, is := range got.leftover {
		if len(is) > 0 {
			found = append(found, fmt.Sprintf("at the end, subscriber %s has got %s as well", name, show(is)))
		}
	}
	return found
}

func (st step) describe() string {
	const most = 200
	text := st.op + st.in.String()
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}

func (st step) deviations(got object) []string {
	var found []string
	if got["ruby-only"] != nil && st.want["ruby-only"] == nil {
		found = append(found, fmt.Sprint("Go does not have it: ", got["ruby-only"]))
	}
	wantError, fails := st.want["error"]
	switch {
	case got["ruby-only"] != nil: // what came of it is not Go's
		got = without(got, "returns")
	case st.want["either"] != nil:
	case fails && got["error"] == nil:
		found = append(found, fmt.Sprintf("returned %s, want an error such as %s", show(got["returns"]), show(wantError)))
	case !fails && got["error"] != nil:
		found = append(found, fmt.Sprint("error: ", got["error"]))
	}
	for name, is := range got {
		want, wanted := st.want[name]
		if name == "error" || name == "ruby-only" || !wanted || got["error"] != nil && name == "returns" {
			continue
		}
		if d := difference(want, is); d != "" {
			found = append(found, name+": "+d)
		}
	}
	return found
}
