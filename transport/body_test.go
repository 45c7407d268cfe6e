package transport_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/transport"
)

const (
	form = "application/x-www-form-urlencoded"
	js   = "application/json"
)

// ask polls without being held; /a has the messages 1, 2 and 4, /b has 3.
func ask(t *testing.T, method, contentType, body string) *httptest.ResponseRecorder {
	t.Helper()
	b := bustest.New(t)
	h := newHandler(t, b, &transport.Options{Limits: transport.LimitOptions{MaxChannels: 3, MaxRequestBytes: 200}})
	for _, channel := range []string{"/a", "/a", "/b", "/a"} {
		publish(t, b, channel, "x")
	}
	r := httptest.NewRequestWithContext(t.Context(), method, "/message-bus/me/poll?dlp=t", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	if contentType == "" {
		r.Header.Del("Content-Type")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestBody_ChannelsAndLastIDs(t *testing.T) {
	t.Parallel()
	const at = `"__status"`
	for _, c := range []struct {
		contentType, body string
		want              string // ids in order; status as its data
	}{
		{form, "/a=1", "2 4"},
		{form, "%2Fa=1", "2 4"},
		{form, "/b=0&/a=2", "3 4"},
		{form, "/a=0&/b=2&/a=2", "4 3"},
		{form, "/a=2;/b=0", "4"},
		{form, "/a", ""},
		{form, "/a=", ""},
		{form, "/a=%20", "1 2 4"},
		{form, "/a=abc", "1 2 4"},
		{form, "/a=2x", "4"},
		{form, "/a=0_2", "4"},
		{form, "/a=%2B2", "4"},
		{form, "/a=-1", `{"/a":4}`},
		{form, "/b=-1&/none=-1&/a=-1", `{"/b":3,"/none":0,"/a":4}`},
		{form, "/a=-1&/b=0", `3 {"/a":4}`},
		{form, "/a=-2", "4"},
		{form, "/a=-3", "2 4"},
		{form, "/a=-99", "1 2 4"},
		{form, "/a=-99999999999999999999", "1 2 4"},
		{form, "/a=99999999999999999999", `{"/a":4}`},
		{form, "/a=4", ""},
		{form, "/a=5", `{"/a":4}`},
		{form, "/b=4", `{"/b":3}`},
		{form, "=1&&/a=2", "4"},
		{form, "__seq=7&/a=2", "4"},
		{form, `{"/a":1}`, ""},
		{form + "; charset=UTF-8", "/a=1", "2 4"},
		{"", "/a=1", "2 4"},
		{"text/plain", "/a=1", ""},
		{"Application/JSON", `{"/a":1}`, ""},
		{"text/plain; was=application/json", `{"/a":1}`, "2 4"},
		{js, `{"/a":1}`, "2 4"},
		{js, ` {"/b" : "0", "\u002fa":2 } `, "3 4"},
		{js, `[["/b",0],["/a",2]]`, "3 4"},
		{js, `[]`, ""},
		{js, `{}`, ""},
		{js, `{"":0}`, ""},
		{js, `{"/a":null,"/b":false}`, ""},
		{js, `{"/a":""}`, ""},
		{js, `{"/a":2.9,"/b":-1.5}`, `4 {"/b":3}`},
		{js, `{"/a":1e99}`, `{"/a":4}`},
		{js, `{"/a":1e999}`, `{"/a":4}`},
		{js, `{"/a":-1e99}`, "1 2 4"},
		{js, `{"/a":1000000000000000000000000}`, `{"/a":4}`},
		{js, `{"/a":2,"__seq":null}`, "4"},
		{"multipart/form-data; boundary=XX", "--XX\r\nContent-Disposition: form-data; name=\"/a\"\r\n\r\n1\r\n--XX--\r\n", "2 4"},
	} {
		w := ask(t, http.MethodPost, c.contentType, c.body)
		var got []string
		for _, m := range decode(t, w.Body.String()) {
			if m.Channel == strings.Replace(at[1:len(at)-1], "__", "/__", 1) {
				got = append(got, string(m.Data))
			} else {
				got = append(got, fmt.Sprint(m.ID))
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s %s: %v, want %s", c.contentType, c.body, got, c.want)
		}
	}
}

func TestBody_WhatCannotBeReadIsRefusedInOneLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		contentType, body string
		status            int
	}{
		{js, ``, 400},
		{js, `{"/a":`, 400},
		{js, `7`, 400},
		{js, `null`, 400},
		{js, `"x"`, 400},
		{js, `{"/a":[1]}`, 400},
		{js, `{"/a":{"b":1}}`, 400},
		{js, `{"/a":true}`, 400},
		{js, `{"/a":1,"__seq":[1]}`, 400},
		{js, `[1]`, 400},
		{js, `[["/a"]]`, 400},
		{js, `[["/a",1,2]]`, 400},
		{js, `[[1,"/a"]]`, 400},
		{js, `{"/a":1} x`, 400},
		{js, "{\"/\xff\":0}", 400},
		{js, `{"/a$|$b":0}`, 400},
		{js, `{"/a$$123$$b":0}`, 400},
		{js, `{"/a\u0000":0}`, 400},
		{js, `{"/1":0,"/2":0,"/3":0,"/4":0}`, 400},
		{js, strings.Repeat(" ", 201), 413},
		{form, "/a%zz=1", 400},
		{form, "/a=%f", 400},
		{form, "/%ff=1", 400},
		{form, "/a[]=1", 400},
		{form, "/a[b]=1", 400},
		{"multipart/form-data", "x", 400},
		{"multipart/form-data; boundary=XX", "--XX\r\nContent-Disposition: form-data; name=\"/a\"\r\n\r\n1", 400},
		{"multipart/form-data; boundary=XX", "--XX\r\nContent-Disposition: form-data; name=\"/a\"; filename=\"f\"\r\n\r\n1\r\n--XX--\r\n", 400},
	} {
		w := ask(t, http.MethodPost, c.contentType, c.body)
		if w.Code != c.status || w.Body.Len() == 0 || strings.Contains(w.Body.String(), "\n") ||
			!strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
			t.Errorf("%s %q: %d %s", c.contentType, c.body, w.Code, w.Body)
		}
	}
}

func TestBody_IsReadForEveryMethodThatNamesItsType(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "PUT", "PATCH", "DELETE", "HEAD", "POST", "BREW"} {
		w := ask(t, method, js, `{"/a":2}`)
		want := "[" + message(4, "/a", `"x"`) + "]"
		if got := w.Body.String(); got != want || w.Header().Get("Content-Length") != fmt.Sprint(len(want)) {
			t.Errorf("%s: %s %v", method, got, w.Header())
		}
		if method == "POST" {
			continue
		}
		if got := ask(t, method, "", "/a=2").Body.String(); got != noMessages {
			t.Errorf("%s without a type: %s", method, got)
		}
	}
}

func FuzzParseBody(f *testing.F) {
	for _, seed := range []string{
		"%2Fchan=3&__seq=1", "/chan=0&/two=1&/chan=2", "/a%zz=1", "/a[]=1", "=1", "&&;",
		`{"/chan":3,"__pos":"~{\"e\":{\"/chan\":3,\"/other\":1}}"}`, "/a=1&__pos=~%7B%7D", "__pos=~7",
		`{"/chan":3,"__seq":2}`, `[["/chan",1],["/two",0]]`, `{"/a":1e999}`, `{"/a":{}}`, "[[[[", "null",
		"--XX\r\nContent-Disposition: form-data; name=\"/chan\"\r\n\r\n1\r\n--XX--\r\n",
	} {
		for _, contentType := range []string{form, js, "multipart/form-data; boundary=XX"} {
			f.Add(contentType, []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		const most = 8
		channels, err := transport.ParseBody(contentType, body, most)
		if err != nil {
			return
		}
		if len(channels) > most {
			t.Fatalf("%d channels", len(channels))
		}
		seen := make(map[string]bool)
		for _, channel := range channels {
			if seen[channel] || channel == "" || channel == "__seq" {
				t.Fatalf("channel %q in %q", channel, channels)
			}
			seen[channel] = true
		}
		if bytes.IndexByte(body, '%') >= 0 || bytes.IndexByte(body, '\\') >= 0 || bytes.IndexByte(body, '+') >= 0 {
			return // escaped names are not found as they are
		}
		last := -1
		for _, channel := range channels {
			at := bytes.Index(body, []byte(channel))
			if at < 0 {
				t.Fatalf("channel %q is not in the body", channel)
			}
			if last < 0 || at >= last {
				last = at
			}
		}
	})
}

func TestParseBody_AllocatesNoMoreThanTheBodyIsWorth(t *testing.T) {
	var body strings.Builder
	for body.Len() < 1<<20 {
		body.WriteString("a&")
	}
	text := []byte(body.String())
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := transport.ParseBody(form, text, 20000); err != nil {
				b.Fatal(err)
			}
		}
	})
	if n := result.AllocedBytesPerOp(); n > 4<<20 {
		t.Errorf("%d bytes allocated for 1 MiB", n)
	}
}
