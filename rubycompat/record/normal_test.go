package record_test

import (
	"testing"

	"github.com/messagebus-go/messagebus/rubycompat/record"
)

func TestDifferences(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, recorded, now string
		differ              int
	}{
		{"equal", `{"a":[1,{"b":"x"}]}`, `{"a":[1,{"b":"x"}]}`, 0},
		{"another value", `{"a":[1,{"b":"x"}]}`, `{"a":[1,{"b":"y"}]}`, 1},
		{"another spelling of a number", `{"a":1.0}`, `{"a":1}`, 1},
		{"null is not an empty text", `{"a":null}`, `{"a":""}`, 1},
		{"shorter", `{"a":[1,2]}`, `{"a":[1]}`, 1},
		{"another order", `{"a":[1,2]}`, `{"a":[2,1]}`, 2},
		{"not looked at in the recording", `{"a":1}`, `{"a":1,"commands":[]}`, 0},
		{"an error where there was none", `{"a":1}`, `{"a":1,"error":{"class":"IOError","message":"x"}}`, 1},
		{"a case that cannot be played", `{"name":"x"}`, `{"name":"x","failed":"no"}`, 1},
		{"not JSON", `{"a":1}`, `{"a"`, 1},

		{"words of Ruby", `{"error":{"class":"JSON::ParserError","message":"225: unexpected"}}`, `{"error":{"class":"JSON::ParserError","message":"unexpected"}}`, 0},
		{"words of Ruby in a log", `{"log":[{"level":"WARN","message":"m","error":"225: x"}]}`, `{"log":[{"level":"WARN","message":"m","error":"x"}]}`, 0},
		{"nothing in a log", `{"log":[{"level":"WARN","message":"m","error":"225: x"}]}`, `{"log":[]}`, 1},
		{"words of Ruby on bytes", `{"ruby_error":{"class":"ArgumentError","message":"x"}}`, `{"ruby_error":{"class":"ArgumentError","message":"y"}}`, 0},
		{"words of Ruby for a method that is not there", `{"log":["WARN: undefined method ` + "`" + `+' for nil:NilClass failed"]}`, `{"log":["WARN: undefined method '+' for nil failed"]}`, 0},
		{"another method that is not there", `{"log":["WARN: undefined method '+' for nil failed"]}`, `{"log":["WARN: undefined method '-' for nil failed"]}`, 1},
		{"words of Ruby in a warning", `{"warnings":["JSON::ParserError 859: x"]}`, `{"warnings":["JSON::ParserError y"]}`, 0},
		{"another warning", `{"warnings":["JSON::ParserError 859: x"]}`, `{"warnings":["EOFError x"]}`, 1},
		{"another error", `{"error":{"class":"JSON::ParserError","message":"x"}}`, `{"error":{"class":"IOError","message":"x"}}`, 2},
		{"words of the gem", `{"error":{"class":"ArgumentError","message":"/a"}}`, `{"error":{"class":"ArgumentError","message":"/b"}}`, 1},
		{"an address", `{"m":"READONLY. (<server>)"}`, `{"m":"READONLY."}`, 0},
		{"classes of redis-rb 5", `{"error":{"class":"Redis::ReadOnlyError","message":"x"}}`, `{"error":{"class":"Redis::CommandError","message":"x"}}`, 0},
		{"a process id", `{"m":"1|1|/__mb_keepalive__/|{\"data\":<pid>,\"u\":1}"}`, `{"m":"1|1|/__mb_keepalive__/|{\"data\":4711,\"u\":1}"}`, 0},
		{"another channel's number", `{"m":"1|1|/a|{\"data\":1,\"u\":1}"}`, `{"m":"1|1|/a|{\"data\":2,\"u\":1}"}`, 1},
		{"a time in an error of the server's", `{"m":"contains (1, <time>)."}`, `{"m":"contains (1, 2026-11-28 14:21:50.001424)."}`, 0},
		{"a slow machine", `{"ttl":604800}`, `{"ttl":604780}`, 0},
		{"another age", `{"ttl":604800}`, `{"ttl":604000}`, 1},
		{"no age", `{"ttl":604800}`, `{"ttl":-1}`, 1},
		{"tried again", `{"c":[{"by":"client","args":["GET"]},{"by":"client","args":["GET"]}]}`, `{"c":[{"by":"client","args":["GET"]}]}`, 0},
		{"done twice in a script", `{"c":[{"by":"script","args":["INCR"]},{"by":"script","args":["INCR"]}]}`, `{"c":[{"by":"script","args":["INCR"]}]}`, 1},
	} {
		if found := record.Differences(record.Case(test.recorded), record.Case(test.now)); len(found) != test.differ {
			t.Errorf("%s: %d differences, want %d: %q", test.name, len(found), test.differ, found)
		}
	}
}

func TestEffects_AreNotTheCommandsOrStatements(t *testing.T) {
	t.Parallel()
	recorded := record.Case(`{"name":"x","steps":[{"op":"publish","returns":1,"commands":[{"by":"client","args":["EVALSHA"]}],"statements":[{"execute":"publish"}]}]}`)
	now := record.Case(`{"name":"x","steps":[{"op":"publish","returns":1,"commands":[],"statements":[]}]}`)
	if found := record.Differences(recorded, now); len(found) != 2 {
		t.Errorf("%q", found)
	}
	if found := record.Differences(record.Effects(recorded), now); len(found) != 0 {
		t.Errorf("%q", found)
	}
}
