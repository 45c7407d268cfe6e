package bus_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
)

// What the scanner has to accept by itself, or it is of no use.
var scanned = []string{
	`null`, `true`, `false`, `0`, `-0`, `7`, `-7.50`, `0.001`, `""`, `"hello"`, `"käse 日本 😀"`, `"\"\\\/\b\f\n\r\t\u00e4\u0000"`,
	`[]`, `{}`, `[[],{}]`, `{"":0}`, `{"from":"Ann","text":"hello, world","tags":["a","b"],"n":[1,2.5,null,true,false]}`,
	"\"\u2028\x7f\ufffd\"",
}

// What it has to leave to encoding/json, be it good or not.
var notScanned = []string{
	``, ` 1`, `1 `, `[1, 2]`, `[1,]`, `[,]`, `{"a":}`, `{"a"}`, `{a:1}`, `{"a":1,}`, `01`, `-`, `1.`, `.5`, `+1`, `1e5`, `1E400`, `nul`, `truee`,
	`"`, `"\`, `"\u12`, `"\u123g"`, `"\x"`, `"\ud83d\ude00"`, `"\ud83d"`, "\"\xff\"", "\"\xed\xa0\x80\"", "\"a\nb\"", "\"\x00\"", `[1`, `{"a":1`, `[}`, `{]`, `"a"b`,
	"\"\\u00\x10\x11\"", `NaN`, `[1]]`, `{"a":1}}`,
}

func TestScanner_AcceptsWhatPublishersWrite(t *testing.T) {
	t.Parallel()
	for _, text := range append(scanned, nested(99), strings.Repeat("9", 299)) {
		if !bus.SurelyFit([]byte(text)) {
			t.Errorf("%.60q was not accepted", text)
		}
	}
	for _, text := range append(notScanned, nested(100), strings.Repeat("9", 300)) {
		if bus.SurelyFit([]byte(text)) {
			t.Errorf("%.60q was accepted", text)
		}
	}
}

// FuzzScanner compares the scanner with encoding/json and the close look.
func FuzzScanner(f *testing.F) {
	for _, text := range append(append([]string{nested(99), nested(100)}, scanned...), notScanned...) {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var compact bytes.Buffer
		good := json.Compact(&compact, b) == nil && bytes.Equal(compact.Bytes(), b) && bus.CheckJSON(b) == nil
		if bus.SurelyFit(b) {
			if !good {
				t.Fatalf("%q was accepted", b)
			}
			return
		}
		if good && !bytes.ContainsAny(b, "eE\\") && len(b) < 300 {
			t.Fatalf("%q was not accepted, without a reason", b)
		}
	})
}

// FuzzScanEnvelope compares what the scanner reads with what is read closely.
func FuzzScanEnvelope(f *testing.F) {
	for _, payload := range scanned {
		f.Add([]byte(`{"data":` + payload + `,"user_ids":[1,"1",-7],"group_ids":[],"client_ids":["c","é"]}`))
	}
	for _, list := range []string{`[1e2]`, `[9223372036854775808]`, `[1.0]`, `[-0]`, `[null]`, `["\u0061"]`, `[1,]`, `[1`, `{}`, `["a","b"]`} {
		f.Add([]byte(`{"data":1,"user_ids":` + list + `,"group_ids":null,"client_ids":` + list + `}`))
	}
	f.Add([]byte(`{"data":1,"user_ids":null,"group_ids":null,"client_ids":null} `))
	f.Fuzz(func(t *testing.T, b []byte) {
		data, users, groups, clients, err := bus.DecodeEnvelope(b)
		data2, users2, groups2, clients2, err2 := bus.DecodeAnyEnvelope(b)
		if (err == nil) != (err2 == nil) || !bytes.Equal(data, data2) || !same(users, users2) || !same(groups, groups2) || !same(clients, clients2) {
			t.Fatalf("%q was read as %s %v %v %q %v, closely as %s %v %v %q %v", b, data, users, groups, clients, err, data2, users2, groups2, clients2, err2)
		}
	})
}

// same tells an empty list from none.
func same[T comparable](a, b []T) bool { return (a == nil) == (b == nil) && slices.Equal(a, b) }

func TestScanEnvelope_NeedsNoMemoryForAMessageToEveryone(t *testing.T) {
	envelope := bus.EncodeEnvelope([]byte(scanned[len(scanned)-2]))
	if n := testing.AllocsPerRun(100, func() { _, _, _, _, _ = bus.DecodeEnvelope(envelope) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkScanner(b *testing.B) {
	for name, payload := range map[string]string{
		"chat": `{"from":"Ann","text":"hello, world"}`,
		"long": `{"text":"` + strings.Repeat("a long text without anything special in it. ", 100) + `"}`,
	} {
		text := []byte(payload)
		b.Run(name+"/scanner", func(b *testing.B) {
			for b.Loop() {
				bus.SurelyFit(text)
			}
		})
		b.Run(name+"/encoding-json", func(b *testing.B) {
			for b.Loop() {
				if !json.Valid(text) || bus.CheckJSON(text) != nil {
					b.Fatal("not valid")
				}
			}
		})
	}
}
