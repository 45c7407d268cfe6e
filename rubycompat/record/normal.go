package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// An object is one of JSON.
type object = map[string]any

// normal returns a value of a case without what differs from run to run and from machine to
// machine, and says nothing about the gem:
//
//   - the words of errors of Ruby itself and of its JSON, of which the fact counts, also
//     in what was logged and warned of;
//   - what redis-rb 5 adds to the server's words, its address, and how Ruby inspects a
//     message for the log;
//   - errors that redis-rb 5 tells apart by their class as well;
//   - which line of which script an error of Redis comes from, and times in errors of
//     Postgres;
//   - process ids in keepalives, and times to live that a slow machine has shortened by
//     up to half a minute;
//   - commands that are repeated at once: redis-rb 5 tries again what a read-only server
//     refused;
//   - what a step has that the recording does not look at.
func normal(v any) any {
	switch v := v.(type) {
	case string:
		v = script.ReplaceAllString(address.ReplaceAllString(v, ""), "in a script")
		v = noMethod.ReplaceAllString(v, "there is no method $1")
		v = moment.ReplaceAllString(v, "<time>")
		v = inspected.ReplaceAllString(v, "#<a message>")
		return keepalive.ReplaceAllString(v, "$1<pid>,")
	case []any:
		list := make([]any, 0, len(v))
		for _, one := range v {
			one = normal(one)
			if len(list) == 0 || !isCommand(one) || !reflect.DeepEqual(list[len(list)-1], one) {
				list = append(list, one)
			}
		}
		return list
	case object:
		return normalObject(v)
	default:
		return v
	}
}

func normalObject(v object) object {
	o := make(object, len(v))
	for name, value := range v {
		o[name] = normal(value)
	}
	if warnings, ok := o["warnings"].([]any); ok {
		for i, warning := range warnings {
			if class, _, _ := strings.Cut(fmt.Sprint(warning), " "); rubysOwn(class) {
				warnings[i] = class
			}
		}
	}
	if ttl, ok := o["ttl"]; ok {
		o["ttl"] = roughly(fmt.Sprint(ttl))
	}
	if _, ok := o["error"].(string); ok && o["level"] != nil {
		o["error"] = rubysWords
	}
	if failed, ok := o["ruby_error"].(object); ok {
		failed["message"] = rubysWords
	}
	switch class, _ := o["class"].(string); {
	case rubysOwn(class):
		o["message"] = rubysWords
	case strings.HasPrefix(class, "Redis::"):
		o["class"] = "Redis::CommandError"
	}
	return o
}

const rubysWords = "words of Ruby's own"

var (
	address   = regexp.MustCompile(` \((<server>|redis://[^)]*)\)`)
	script    = regexp.MustCompile(`script: [0-9a-f]{40}, on @user_script:\d+`)
	inspected = regexp.MustCompile(`#<(?:struct )?MessageBus::Message.*>`)
	noMethod  = regexp.MustCompile("undefined method [`'](\\S+)' for (an instance of \\S+|\\S+)")
	moment    = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?`)
	keepalive = regexp.MustCompile(`(/__mb_keepalive__/(?:\$\$\$123\$\$\$\w+)?\|\{"data":)(\d+|<pid>),`)
)

// isCommand reports whether v is a command of a client, as a story shows it.
func isCommand(v any) bool {
	o, ok := v.(object)
	return ok && o["by"] == "client"
}

func rubysOwn(class string) bool {
	return class == "NoMethodError" || class == "TypeError" || strings.HasPrefix(class, "JSON::") || strings.HasPrefix(class, "Encoding::")
}

// roughly is a time to live up to half a minute.
func roughly(ttl string) string {
	const half = 30
	var seconds int
	if _, err := fmt.Sscan(ttl, &seconds); err != nil || seconds < half {
		return ttl
	}
	return strconv.Itoa((seconds + half - 1) / half * half)
}

// Differences compares what was recorded with what is recorded now, and names each
// place. What the recording does not look at does not count, unless it is an error.
func Differences(recorded, now Case) []string {
	var found []string
	differ("", normal(parse(recorded)), normal(parse(now)), &found)
	return found
}

// Effects returns a recorded case without the commands, statements and options by which its
// effects came about, without the spelling and order of headers, and without the words of
// errors of Ruby itself, for a comparison with a version of the gem that has others.
func Effects(recorded Case) Case {
	whole, ok := parse(recorded).(object)
	if !ok {
		return recorded
	}
	for _, part := range parts(whole) {
		delete(part, "commands")
		delete(part, "statements")
		delete(part, "header_lines")
		published, _ := part["published"].([]any)
		for _, message := range published {
			if o, ok := message.(object); ok {
				delete(o, "options") // of the cache's call
			}
		}
		if failed, ok := part["error"].(object); ok {
			part["error"] = normalObject(failed)
		}
	}
	effects, err := json.Marshal(whole)
	if err != nil {
		return recorded
	}
	return effects
}

// parts are a case, its steps and its answers.
func parts(whole object) []object {
	all := []object{whole}
	steps, _ := whole["steps"].([]any)
	responses, _ := whole["responses"].(object)
	for _, part := range slices.Concat(steps, []any{whole["response"]}, slices.Collect(maps.Values(responses))) {
		if o, ok := part.(object); ok {
			all = append(all, o)
		}
	}
	return all
}

// parse keeps the spelling of numbers. What is not JSON is equal to nothing.
func parse(c Case) any {
	decoder := json.NewDecoder(bytes.NewReader(c))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return err
	}
	return v
}

func differ(at string, want, got any, found *[]string) {
	switch want := want.(type) {
	case object:
		if o, ok := got.(object); ok {
			differObjects(at, want, o, found)
			return
		}
	case []any:
		if list, ok := got.([]any); ok && len(list) == len(want) {
			for i := range want {
				differ(fmt.Sprintf("%s[%d]", at, i), want[i], list[i], found)
			}
			return
		}
	default:
		if reflect.DeepEqual(want, got) {
			return
		}
	}
	*found = append(*found, fmt.Sprintf("%s: recorded %s, now %s", at, show(want), show(got)))
}

func differObjects(at string, want, got object, found *[]string) {
	names := slices.Sorted(maps.Keys(want))
	for name := range got {
		if _, known := want[name]; !known && (name == "error" || name == "failed") {
			names = append(names, name)
		}
	}
	for _, name := range names {
		differ(at+"."+name, want[name], got[name], found)
	}
}

// show writes a value for a report as JSON, not all of one that is long.
func show(v any) string {
	const most = 300
	if v == nil {
		return "nothing"
	}
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	if text.Len() > most {
		return text.String()[:most] + "…"
	}
	return strings.TrimSuffix(text.String(), "\n")
}
