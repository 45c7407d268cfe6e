package rubycompat_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A storyRule says what is wanted of a story in place of the recording.
type storyRule struct {
	// about reports whether the story is one that the rule can be about.
	about func(s *story) bool
	// amend rewrites what is wanted; nil: as the model has it.
	amend func(s *story, postgres bool)
}

// amendedBy returns the story as it is wanted by a rule.
func amendedBy(t *testing.T, rule string, s *story, postgres bool) *story {
	t.Helper()
	r, ok := storyRules[rule]
	if !ok {
		t.Fatalf("the rule %s is not one for stories", rule)
	}
	if !r.about(s) {
		t.Fatalf("the rule %s (%s) is about something else", rule, rules[rule])
	}
	return r.amended(s, postgres)
}

func (r storyRule) amended(s *story, postgres bool) *story {
	wanted := s.clone()
	if r.amend == nil {
		ours(wanted, postgres)
	} else {
		r.amend(wanted, postgres)
	}
	return wanted
}

var storyRules = map[string]storyRule{
	"ruby-only": {about: anything, amend: withoutWhatGoLacks},

	"name-refused": {about: anyStep(func(s step) bool {
		all := s.in.String()
		return s.op != "redis" && s.op != "sql" &&
			(strings.Contains(all, "$|$") || strings.Contains(all, "$$123$$") || strings.Contains(all, `\u0000`))
	})},
	"undecodable-name-refused": {about: anyStep(func(s step) bool {
		return s.op == "publish" && s.in.text("channel") == ""
	})},
	"unreadable-refused": {about: anyStep(func(s step) bool {
		_, readable := readablePayload(s.in["data"])
		return s.op == "publish" && !readable
	})},

	"both-limits-hold": {about: anyPublish(func(options members) bool {
		return options.value("max_backlog_size") != nil && options.value("max_backlog_age") != nil
	})},
	"fraction-rounded-up": {about: anyPublish(func(options members) bool {
		n, _ := options.value("max_backlog_age").(json.Number)
		return strings.Contains(n.String(), ".")
	})},
	"global-backlog-outlives": {about: anyPublish(namesAge)},
	"age-of-own-channel":      {about: anyPublish(namesAge)},
	"ids-above-backlog": {about: anyStep(func(s step) bool {
		return s.op == "redis" && strings.Contains(s.in.String(), "__mb_backlog_id_n_")
	})},
	"large-messages-delivered": {about: anyStep(func(s step) bool {
		recorded, _ := s.want["error"].(object)
		return s.op == "publish" && strings.Contains(text(recorded["message"]), "payload string too long")
	})},
	"refused-in-whole": {about: anyStep(func(s step) bool { return s.op == "publish" && s.want["error"] != nil })},

	"queued-limits-kept": {about: anyPublish(func(options members) bool {
		return options.value("max_backlog_size") != nil || namesAge(options)
	})},
	"queued-order-kept": {about: hasOp("server-writable")},
	"no-probe-left":     {about: hasOp("server-readonly")},

	"asked-twice-counts-once": {about: anyStep(func(s step) bool {
		asked := texts(s.in.value("args"))
		slices.Sort(asked)
		return s.op == "last_ids" && len(slices.Compact(slices.Clone(asked))) < len(asked)
	})},
	"no-end-marker": {about: anyStep(func(s step) bool {
		return s.op == "destroy" || s.op == "backend.global_unsubscribe" || strings.Contains(s.in.String(), "$$UNSUBSCRIBE")
	})},
	"root-hears-no-site": {about: anyPublish(func(options members) bool { return options.value("site_id") != nil })},
	"no-loss":            {about: hasOp("received")},
	"no-repeats":         {about: hasOp("received"), amend: onceAndInOrder},
	"no-notice-without-ids": {
		about: anyStep(func(s step) bool { return strings.Contains(s.in.String(), "pg_terminate_backend") }),
		amend: afterACut,
	},
}

func anything(*story) bool { return true }

func anyStep(is func(step) bool) func(*story) bool {
	return func(s *story) bool { return slices.ContainsFunc(s.steps, is) }
}

func hasOp(op string) func(*story) bool { return anyStep(func(s step) bool { return s.op == op }) }

func anyPublish(with func(options members) bool) func(*story) bool {
	return anyStep(func(s step) bool {
		var options members
		return s.op == "publish" && json.Unmarshal(s.in["options"], &options) == nil && with(options)
	})
}

func namesAge(options members) bool { return options.value("max_backlog_age") != nil }

// withoutWhatGoLacks accepts steps that Go cannot do. The others are wanted as they
// were recorded.
func withoutWhatGoLacks(s *story, _ bool) {
	for i := range s.steps {
		want := s.steps[i].want
		want["ruby-only"] = true
		switch s.steps[i].op {
		case "backend.get_message": // the pg gem raises for a row that is not there
			if want["error"] != nil {
				delete(want, "error")
				want["returns"] = nil
			}
		case "keepalive": // there is no site lookup
			for _, v := range announcements(want) {
				said := v.(object)
				for name, is := range said {
					before, site, _ := strings.Cut(text(is), "$$$123$$$")
					if _, rest, sited := strings.Cut(site, "|"); sited {
						said[name] = before + "|" + rest
					}
				}
			}
		}
	}
}

// onceAndInOrder is for announcements of messages that no store holds.
func onceAndInOrder(s *story, postgres bool) {
	recorded := s.clone()
	ours(s, postgres)
	if !anyStep(announcesByHand)(s) {
		return
	}
	for i := range s.steps {
		if s.steps[i].op == "received" {
			announced, _ := recorded.steps[i].want["messages"].([]any)
			s.steps[i].want["messages"] = matcher{
				count: distinct(announced),
				check: func(got any) string { return subsequence(announced, got) },
			}
		}
	}
}

// sameMessage compares what names a message. An envelope is not compared: what was
// announced by hand may lack members.
func sameMessage(a, b any) bool {
	one, other := a.(object), b.(object)
	return text(one["global_id"]) == text(other["global_id"]) && text(one["message_id"]) == text(other["message_id"]) &&
		one["channel"] == other["channel"]
}

func distinct(messages []any) int {
	ids := map[string]bool{}
	for _, m := range messages {
		ids[text(m.(object)["global_id"])] = true
	}
	return len(ids)
}

func announcesByHand(s step) bool {
	return strings.Contains(s.in.String(), "pg_notify") || strings.Contains(s.in.String(), `"PUBLISH"`)
}

// subsequence says what is wrong with messages that should be among those announced,
// ascending.
func subsequence(announced []any, got any) string {
	last := -1
	for _, m := range got.([]any) {
		if !slices.ContainsFunc(announced, func(a any) bool { return sameMessage(a, m) }) {
			return show(m) + " was not announced"
		}
		if id := integer(m.(object)["global_id"]); id <= last {
			return show(got) + " is out of order"
		}
		last = integer(m.(object)["global_id"])
	}
	return ""
}

// afterACut allows a publish that finds its connection cut to fail, or to go through
// on another one. In either case nothing is announced without its ids, and whoever
// listens gets what is stored, and that alone.
func afterACut(s *story, postgres bool) {
	ours(s, postgres)
	var stored []any
	cut := false
	for i := range s.steps {
		want := s.steps[i].want
		switch s.steps[i].op {
		case "sql":
			cut = cut || strings.Contains(s.steps[i].in.String(), "pg_terminate_backend")
		case "publish":
			if cut {
				want["either"] = true
				delete(want, "returns")
				want["notified"] = matcher{check: withIDs}
			}
		case "rows":
			want["rows"] = matcher{check: func(got any) string {
				stored, _ = got.([]any)
				return ""
			}}
		case "received":
			want["messages"] = matcher{check: func(got any) string { return sameIDs(stored, got) }}
		}
	}
}

func withIDs(notified any) string {
	for _, n := range notified.([]any) {
		m, err := driver.Decode([]byte(text(n.(object)["payload"])))
		if err != nil || m.ID <= 0 || m.GlobalID <= 0 {
			return "announced without ids: " + show(n)
		}
	}
	return ""
}

func sameIDs(rows []any, messages any) string {
	received := messages.([]any)
	same := len(rows) == len(received)
	for i := 0; same && i < len(rows); i++ {
		same = difference(rows[i].(object)["id"], received[i].(object)["message_id"]) == ""
	}
	if !same {
		return differ(rows, received)
	}
	return ""
}
