package transport_test

import (
	"encoding/json"
	"testing"

	"github.com/messagebus-go/messagebus/transport"
)

func TestForm_NamesNestAsRackHasIt(t *testing.T) {
	t.Parallel()
	for form, want := range map[string]string{
		"a=1&b=2":               `{"a":"1","b":"2"}`,
		"a=1&a=2":               `{"a":"2"}`,
		"a":                     `{"a":null}`,
		"a=":                    `{"a":""}`,
		"a[]=1&a[]=2":           `{"a":["1","2"]}`,
		"a[]":                   `{"a":[null]}`,
		"a[b]=1&a[c]=2":         `{"a":{"b":"1","c":"2"}}`,
		"a[b][c]=1":             `{"a":{"b":{"c":"1"}}}`,
		"a[b][]=1&a[b][]=2":     `{"a":{"b":["1","2"]}}`,
		"a[][b]=1&a[][c]=2":     `{"a":[{"b":"1","c":"2"}]}`,
		"a[][b]=1&a[][b]=2":     `{"a":[{"b":"1"},{"b":"2"}]}`,
		"a[][b][]=1&a[][b][]=2": `{"a":[{"b":["1","2"]}]}`,
		"a%5Bb%5D=%20+":         `{"a":{"b":"  "}}`,
		"=1&[]=2":               `{}`,
		"a[b=1":                 `{"a":{"b":"1"}}`,
	} {
		got, err := transport.ParseForm(form)
		if err != nil {
			t.Errorf("%s: %v", form, err)
			continue
		}
		if text, err := json.Marshal(got); err != nil || string(text) != want {
			t.Errorf("%s: %s, want %s (%v)", form, text, want, err)
		}
	}
}

func FuzzParseForm(f *testing.F) {
	for _, seed := range []string{"a=1&a[b]=2", "a[][b]=1&a[][b]=2", "a[b][][c][]=x", "[[[]]]", "a]b[=1", "a[", "%5b=1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, form string) {
		got, err := transport.ParseForm(form)
		if err != nil {
			return
		}
		if _, err := json.Marshal(got); err != nil {
			t.Fatalf("%q: %v", form, err)
		}
	})
}
