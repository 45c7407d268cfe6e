package httpclient_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/httpclient"
)

const (
	most = 1 << 10
	one  = `{"global_id":7,"message_id":3,"channel":"/a","data":"x\"}]\\"}`
	two  = `{"global_id":8,"message_id":4,"channel":"/a","data":{"b":[1,"{["]}}`
)

func TestParser_TakesOneArrayAndManyAndAllWhiteSpace(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string][]string{
		"[]":                            {"."},
		"[" + one + "]":                 {one, "."},
		" [ " + one + " , " + two + "]": {one, two, "."},
		"[]\r\n|\r\n":                   {"."},
		"[]\r\n|\r\n[" + one + "]\r\n|\r\n[]\r\n|\r\n": {".", one, ".", "."},
		"[" + one + "]\r\n|\r\n[" + two + "]":          {one, ".", two, "."}, // the last separator never came
	} {
		got, err := httpclient.Parse(most, []byte(answer))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q %v, want %q", answer, got, err, want)
		}
	}
}

func TestParser_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		"":                               "before its first part",
		" \r\n":                          "before its first part",
		"<!DOCTYPE html><p>hello":        `no array of messages: "<!DOCTYPE html`,
		`{"error":"no"}`:                 "no array of messages",
		"null":                           "no array of messages",
		"[1]":                            "no array of messages",
		"[" + one + two:                  "no array of messages",
		"[" + one + ",]":                 "no array of messages",
		"[]][":                           "no array of messages",
		"[][]":                           "no array of messages",
		"[" + one[:20]:                   "broken off",
		"[" + one:                        "broken off",
		"[" + one + ",":                  "broken off",
		"[":                              "broken off",
		"[{" + strings.Repeat(" ", 1200): "longer than the 1024 bytes of MaxMessageBytes",
		"[{" + strings.Repeat("[", 1200): "longer than the 1024 bytes",
	} {
		_, err := httpclient.Parse(most, []byte(answer))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", answer, err, want)
		}
	}
}

func TestParser_BoundIsThatOfOneMessageAndNotOfAnAnswer(t *testing.T) {
	t.Parallel()
	answer := "[" + strings.Repeat(one+",", 10_000) + one + "]"
	got, err := httpclient.Parse(len(one), []byte(answer))
	if err != nil || len(got) != 10_002 {
		t.Errorf("%d messages, %v", len(got), err)
	}
}

func TestParser_KeepsNoMoreThanTheBoundOfAMessageWithoutEnd(t *testing.T) {
	piece := bytes.Repeat([]byte("x"), 4<<10)
	const most = 64 << 10
	pieces := [][]byte{[]byte(`[{"data":"`)}
	for range 1 << 14 { // 64 MiB in all
		pieces = append(pieces, piece)
	}
	if allocated := testing.AllocsPerRun(1, func() {
		if _, err := httpclient.Parse(most, pieces...); err == nil {
			t.Error("a message without end is taken")
		}
	}); allocated > 100 {
		t.Errorf("%v allocations", allocated)
	}
}

// split cuts b in pieces at random.
func split(b []byte, random *rand.Rand) [][]byte {
	var pieces [][]byte
	for len(b) > 0 {
		n := 1 + random.IntN(min(len(b), 1+random.IntN(20)))
		pieces, b = append(pieces, b[:n]), b[n:]
	}
	return pieces
}

func everyByte(b []byte) [][]byte {
	var pieces [][]byte
	for i := range b {
		pieces = append(pieces, b[i:i+1])
	}
	return pieces
}

// sameInPieces checks that a parser says the same however its input is split.
func sameInPieces(t *testing.T, parse func(int, ...[]byte) (httpclient.Heard, error), b []byte, seed uint64) {
	t.Helper()
	whole, wholeErr := parse(most, b)
	random := rand.New(rand.NewPCG(seed, 1))
	splits := [][][]byte{everyByte(b), split(b, random), split(b, random)}
	if len(b) > 1 {
		at := 1 + random.IntN(len(b)-1)
		splits = append(splits, [][]byte{b[:at], b[at:]})
	}
	for _, pieces := range splits {
		got, err := parse(most, pieces...)
		if !slices.Equal(got, whole) || (err == nil) != (wholeErr == nil) {
			t.Fatalf("%q in %d pieces: %q %v; in one: %q %v", b, len(pieces), got, err, whole, wholeErr)
		}
	}
}

func FuzzParser_SaysTheSameHoweverTheBytesAreSplit(f *testing.F) {
	for _, seed := range []string{
		"[" + one + "," + two + "]\r\n|\r\n[]\r\n|\r\n", "[]", "[", "[{}]", "[{\"a\\", "<html>", "[]\r\n||\r\n[]", "[{\"\u00fc\":[]}]",
	} {
		f.Add([]byte(seed), uint64(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) { sameInPieces(t, httpclient.Parse, b, seed) })
}

func FuzzEvents_SaysTheSameHoweverTheBytesAreSplit(f *testing.F) {
	for _, seed := range []string{
		"id: 7\ndata: " + one + "\n\n", "retry: 100\nid: 3\n\n", ":\n\n", "data: a\r\ndata: b\r\n\r\n", "data: a\rdata\r\r", "event: gap\ndata: x\n\n",
	} {
		f.Add([]byte(seed), uint64(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) { sameInPieces(t, httpclient.ParseEvents, b, seed) })
}

func TestEvents_AreThoseOfTheStandard(t *testing.T) {
	t.Parallel()
	for stream, want := range map[string][]string{
		"id: 7\ndata: x\n\n":                    {`true true "x" 0s`},
		"data: a\ndata: b\n\n":                  {`false true "a\nb" 0s`},
		"data:a\r\ndata\r\n\r\n":                {`false true "a\n" 0s`},
		":\n\nretry: 250\nid: 3\n\n":            {":", `true false "" 250ms`},
		"event: gap\rdata: x\r\rdata: y\r\r":    {`false true "x" 0s`, `false true "y" 0s`},
		"id: 1\ndata: x\n\ndata: is cut off":    {`true true "x" 0s`},
		"retry: 1e9\ndata: x\n\nfoo: bar\n\n\n": {`false true "x" 0s`},
	} {
		got, err := httpclient.ParseEvents(most, []byte(stream))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q %v, want %q", stream, got, err, want)
		}
	}
	for _, stream := range []string{"", "data: x", "data: " + strings.Repeat("x", 2000) + "\n\n", strings.Repeat("data: xxxxxxxxxxxxxxxxx\n", 200)} {
		if _, err := httpclient.ParseEvents(most, []byte(stream)); err == nil {
			t.Errorf("%.40q is taken", stream)
		}
	}
}

func TestMessage_ReadsMembersInAnyOrder(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string][4]any{
		one: {int64(7), int64(3), "/a", `"x\"}]\\"`},
		`{ "data" : [ 1 , {"channel":"/no"} ] , "more":null, "channel":"\/\u00fc\"","message_id": 0 ,"global_id":-1}`: {int64(-1), int64(0), `/ü"`, `[ 1 , {"channel":"/no"} ]`},
		`{"global_id":1,"message_id":2,"channel":"/a","data":[-0.5,1e3,{"\u00FC\n":[true,false,null,""]}]}`:           {int64(1), int64(2), "/a", `[-0.5,1e3,{"\u00FC\n":[true,false,null,""]}]`},
		`{"global_id":1,"message_id":2,"channel":"/a","data":3,"data":4}`:                                             {int64(1), int64(2), "/a", "4"},
		`{"global_id":1,"message_id":2,"channel":""}`:                                                                 {int64(1), int64(2), "", "null"},
	} {
		gid, id, channel, data, err := httpclient.ParseMessage([]byte(strings.TrimSpace(raw)))
		if got := [4]any{gid, id, channel, data}; err != nil || got != want {
			t.Errorf("%s: %v %v", raw, got, err)
		}
	}
	for _, data := range []string{
		``, `-`, `01`, `1.`, `.5`, `1e`, `tru`, `nul`, `[1,]`, `[1`, `[,1]`, `{"a"}`, `{"a":1,}`, `{a:1}`, `{"a":1`, `"a`, `"\x"`, `"\u12g4"`, `"\u12`, `"\u123"`, "\"\x19\"",
		"\"\\u\x11\x11\x11\x11\"", `1}`, `1,"data"`, `"a""b"`, `\"a"`, strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000),
	} {
		if _, _, _, _, err := httpclient.ParseMessage([]byte(`{"global_id":1,"message_id":2,"channel":"/a","data":` + data + `}`)); err == nil {
			t.Errorf("the data %.40s are taken", data)
		}
	}
	for _, raw := range []string{
		`{}`, `{"global_id":1,"message_id":2}`, `{"global_id":"1","message_id":2,"channel":"/a"}`, `{"global_id":1.5,"message_id":2,"channel":"/a"}`,
		`{"global_id":99999999999999999999,"message_id":2,"channel":"/a"}`, `{"global_id":1,"message_id":-2,"channel":"/a"}`,
		`{"global_id":1,"message_id":2,"channel":7}`, `{"global_id":1,"message_id":2,"channel":"/a","data":}`, `{"global_id":01,"message_id":2,"channel":"/a"}`,
		"{\"global_id\":1,\"message_id\":2,\"channel\":\"/a\",\"data\":\"a\r\n||\r\nb\"}", `{"global_id":1 "message_id":2}`,
	} {
		if _, _, _, _, err := httpclient.ParseMessage([]byte(raw)); err == nil {
			t.Errorf("%s is taken", raw)
		}
	}
}

func FuzzMessage_AgreesWithEncodingJSON(f *testing.F) {
	f.Add([]byte(one))
	f.Add([]byte(two))
	f.Add([]byte(`{"global_id":1,"message_id":2,"channel":"/a","data":[-0.5,[],{"\u00FC\n":[true,false,null,""]}]}`))
	f.Add([]byte(`{"channel":"\ud83d\ude00","global_id":1,"message_id":-1,"data":[{}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) == 0 || raw[0] != '{' {
			return // the parser hands over nothing else
		}
		gid, id, channel, data, err := httpclient.ParseMessage(raw)
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatalf("%q is taken: %v", raw, err)
		}
		var wantGID, wantID int64
		var wantChannel string
		_ = json.Unmarshal(want["global_id"], &wantGID)
		_ = json.Unmarshal(want["message_id"], &wantID)
		_ = json.Unmarshal(want["channel"], &wantChannel)
		if want["data"] == nil {
			want["data"] = json.RawMessage("null")
		}
		channel = string([]rune(channel)) // with what encoding/json puts in place of invalid UTF-8
		if gid != wantGID || id != wantID || channel != wantChannel || data != string(want["data"]) {
			t.Errorf("%q: %d %d %q %s; want %d %d %q %s", raw, gid, id, channel, data, wantGID, wantID, wantChannel, want["data"])
		}
	})
}
