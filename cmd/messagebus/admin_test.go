package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
)

// testAdmin returns an admin handler without a key, and its bus.
func testAdmin(t *testing.T) (*admin, *bus.Bus) {
	t.Helper()
	b := bustest.New(t)
	return &admin{service: local{b}, held: func() int { return 3 }}, b
}

// ask sends a request straight to the handler, as from this machine.
func ask(a http.Handler, method, target, body string, header map[string]string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1:7411"+target, strings.NewReader(body))
	for name, value := range header {
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

func TestPublish_StoresWhatWasAsked(t *testing.T) {
	t.Parallel()
	a, b := testAdmin(t)
	tests := []struct{ body, want string }{
		{`{"channel":"/a","data":"x"}`, `{"channel":"/a","id":1,"global_id":1,"data":"x"}`},
		{`{"channel":"/a","data":null,"user_ids":null,"group_ids":null,"client_ids":null,"site":null,"max_backlog_size":null,"max_backlog_age":null}`,
			`{"channel":"/a","id":2,"global_id":2,"data":null}`},
		{` { "data" : { "z" : [1.50, "<é>"] , "a" : 12345678901234567890 } , "channel" : "/a" } `,
			`{"channel":"/a","id":3,"global_id":3,"data":{"z":[1.50,"<é>"],"a":12345678901234567890}}`},
		{`{"channel":"/a","data":1,"user_ids":[1,"1"],"group_ids":["staff",2],"client_ids":["c"]}`,
			`{"channel":"/a","id":4,"global_id":4,"data":1,"user_ids":[1,"1"],"group_ids":["staff",2],"client_ids":["c"]}`},
		{`{"channel":"/a","data":1,"max_backlog_size":10,"max_backlog_age":60}`, `{"channel":"/a","id":5,"global_id":5,"data":1}`},
		{`{"channel":"/\u00e9 b","data":"\ud83d\ude00"}`, `{"channel":"/é b","id":6,"global_id":6,"data":"\ud83d\ude00"}`},
	}
	for i, test := range tests {
		w := ask(a, "POST", "/publish", test.body, nil)
		var answer published
		if err := json.Unmarshal(w.Body.Bytes(), &answer); w.Code != 200 || err != nil || answer.ID != int64(i+1) {
			t.Fatalf("%s: %d %s; want the id %d", test.body, w.Code, w.Body, i+1)
		}
		messages, err := b.GlobalBacklog(t.Context(), int64(i))
		if err != nil || len(messages) != 1 {
			t.Fatal(messages, err)
		}
		if got := lineText(t, lineOf(messages[0])); got != test.want {
			t.Errorf("stored is  %s\nwant %s", got, test.want)
		}
	}
}

func lineText(t *testing.T, v any) string {
	t.Helper()
	var text strings.Builder
	if err := encode(&text, v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(text.String(), "\n")
}

func TestPublish_KeepsSitesAndLimitsApart(t *testing.T) {
	t.Parallel()
	a, b := testAdmin(t)
	ask(a, "POST", "/publish", `{"channel":"/a","data":1,"site":"eu"}`, nil)
	ask(a, "POST", "/publish", `{"channel":"/a","data":2,"site":""}`, nil)
	ask(a, "POST", "/publish", `{"channel":"/a","data":3}`, nil)
	ask(a, "POST", "/publish", `{"channel":"/nothing","data":4,"max_backlog_size":0}`, nil)
	ask(a, "POST", "/publish", `{"channel":"/nothing","data":5,"max_backlog_age":0}`, nil)
	for _, test := range []struct {
		view *bus.Bus
		want string
	}{
		{b.Site("eu"), `{"channel":"/a","id":1,"global_id":1,"data":1,"site":"eu"}`},
		{b.Site(""), `{"channel":"/a","id":2,"global_id":2,"data":2,"site":""}`},
		{b, `{"channel":"/a","id":3,"global_id":3,"data":3}`},
	} {
		messages, err := test.view.Backlog(t.Context(), "/a", 0)
		if err != nil || len(messages) != 1 || lineText(t, lineOf(messages[0])) != test.want {
			t.Errorf("stored is %v, %v; want %s", messages, err, test.want)
		}
	}
	if kept, err := b.Backlog(t.Context(), "/nothing", 0); err != nil || len(kept) != 0 {
		t.Errorf("0 kept %v, %v", kept, err)
	}
}

// badPublications are bodies that are refused with 400, and what the answer says.
var badPublications = []struct{ body, says string }{
	{``, "it is empty"},
	{` `, "it is empty"},
	{`null`, "it must be a JSON object"},
	{`[]`, "it must be a JSON object"},
	{`"x"`, "it must be a JSON object"},
	{`{`, "not JSON"},
	{`{}`, "channel: it is missing"},
	{`{"channel":"/a"}`, "data: it is missing"},
	{`{"data":1}`, "channel: it is missing"},
	{`{"channel":"","data":1}`, "channel: it is missing or empty"},
	{`{"channel":null,"data":1}`, "channel: null is no string"},
	{`{"channel":7,"data":1}`, "channel: 7 is no string"},
	{`{"channel":"/a","data":1}{}`, "not JSON"},
	{`{"channel":"/a","data":1} x`, "not JSON"},
	{`{"channel":"/a","data":NaN}`, "not JSON"},
	{`channel=/a&data=1`, "not JSON"},
	{`{"channel":"/a","data":1,"users":[1]}`, `unknown member "users"; accepted are: channel, client_ids, data, group_ids`},
	{`{"Channel":"/a","data":1}`, `unknown member "Channel"`},
	{`{"channel":"/a","channel":"/b","data":1}`, `"channel" stands there twice`},
	{"{\"channel\":\"/\xff\",\"data\":1}", "not valid UTF-8"},
	{`{"channel":"/\ud800","data":1}`, `\ud800 is half of a surrogate pair`},
	{`{"channel":"/a","data":"\udc00"}`, "half of a surrogate pair"},
	{`{"channel":"/a","data":"\ud83d\\ude00"}`, "half of a surrogate pair"},
	{`{"channel":"/a","data":1e400}`, "does not fit a double"},
	{`{"channel":"/a","data":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, "nested deeper"},
	{`{"channel":"/a","data":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, "not JSON"},
	{`{"channel":"/a$|$b","data":1}`, "site separator"},
	{`{"channel":"/a$$123$$","data":1}`, "escape of a pipe"},
	{`{"channel":"/a\u0000","data":1}`, "NUL"},
	{`{"channel":"/a","data":1,"site":"$|$"}`, "site separator"},
	{`{"channel":"/a","data":1,"site":5}`, "site: 5 is no string"},
	{`{"channel":"/a","data":1,"user_ids":[]}`, "list of users is empty"},
	{`{"channel":"/a","data":1,"group_ids":[]}`, "list of groups is empty"},
	{`{"channel":"/a","data":1,"client_ids":[]}`, "list of clients is empty"},
	{`{"channel":"/a","data":1,"user_ids":7}`, "user_ids: 7 is no JSON list"},
	{`{"channel":"/a","data":1,"user_ids":[1.5]}`, "user_ids: 1.5 is no id"},
	{`{"channel":"/a","data":1,"user_ids":[null]}`, "user_ids: null is no id"},
	{`{"channel":"/a","data":1,"user_ids":[[1]]}`, "user_ids: [1] is no id"},
	{`{"channel":"/a","data":1,"group_ids":[9223372036854775808]}`, "is no id"},
	{`{"channel":"/a","data":1,"client_ids":[1]}`, "client_ids: 1 is no string"},
	{`{"channel":"/a","data":1,"client_ids":[null]}`, "client_ids: null is no string"},
	{`{"channel":"/a","data":1,"client_ids":"c"}`, "client_ids:"},
	{`{"channel":"/global/a","data":1,"user_ids":[1]}`, "takes no users or groups"},
	{`{"channel":"/a","data":1,"max_backlog_size":-1}`, "max_backlog_size: -1 is no whole number"},
	{`{"channel":"/a","data":1,"max_backlog_size":1.5}`, "max_backlog_size: 1.5"},
	{`{"channel":"/a","data":1,"max_backlog_size":"5"}`, "max_backlog_size:"},
	{`{"channel":"/a","data":1,"max_backlog_size":1e3}`, "max_backlog_size: 1e3"},
	{`{"channel":"/a","data":1,"max_backlog_size":99999999999}`, "max_backlog_size:"},
	{`{"channel":"/a","data":1,"max_backlog_age":-1}`, "max_backlog_age: -1"},
	{`{"channel":"/a","data":1,"max_backlog_age":"1h"}`, "max_backlog_age:"},
	{`{"channel":"/a","data":1,"max_backlog_age":9223372037}`, "max_backlog_age:"},
}

func TestPublish_RefusesWithAReasonAndStoresNothing(t *testing.T) {
	t.Parallel()
	a, b := testAdmin(t)
	for _, test := range badPublications {
		checkRefused(t, ask(a, "POST", "/publish", test.body, nil), 400, test.says)
	}
	large := `{"channel":"/a","data":"` + strings.Repeat("x", maxPublishBytes) + `"}`
	checkRefused(t, ask(a, "POST", "/publish", large, nil), 413, "longer than 9437184 bytes")
	large = `{"channel":"/a","data":"` + strings.Repeat("x", 8<<20) + `"}`
	checkRefused(t, ask(a, "POST", "/publish", large, nil), 413, "at most 8388608 are accepted")
	if stored, err := b.GlobalBacklog(t.Context(), 0); err != nil || len(stored) != 0 {
		t.Errorf("stored is %v, %v; want nothing", stored, err)
	}
}

func checkRefused(t *testing.T, w *httptest.ResponseRecorder, status int, says string) {
	t.Helper()
	var answer errorLine
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Errorf("the answer %q is no JSON: %v", w.Body, err)
	}
	if w.Code != status || !strings.Contains(answer.Error, says) {
		t.Errorf("%d %q; want %d and %q", w.Code, answer.Error, status, says)
	}
}

func TestPublish_IsQueuedWhileTheStoreIsReadOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		store.Faults().SetReadOnly(true)
		b := bustest.On(t, store, nil)
		a := &admin{service: local{b}, held: func() int { return 0 }}
		w := ask(a, "POST", "/publish", `{"channel":"/a","data":1}`, nil)
		if w.Code != 202 || w.Body.String() != `{"queued":true}`+"\n" {
			t.Errorf("%d %q; want 202 and that it is queued", w.Code, w.Body)
		}
		if w := ask(a, "GET", "/health", "", nil); w.Code != 503 || !strings.Contains(w.Body.String(), `"queued":1`) {
			t.Errorf("health: %d %s", w.Code, w.Body)
		}
		store.Faults().SetReadOnly(false)
		<-time.After(2 * time.Second)
		if w := ask(a, "GET", "/last-id?channel=/a", "", nil); !strings.Contains(w.Body.String(), `"last_id":1`) {
			t.Errorf("last id: %s", w.Body)
		}
	})
}

func TestPublish_AnswersFaultsOfTheStore(t *testing.T) {
	t.Parallel()
	store := bustest.NewStore(t)
	const body = `{"channel":"/a","data":1}`
	b := bustest.On(t, failingStore{store, driver.ErrReadOnly}, &bus.Options{ReadOnlyQueue: bus.QueueLimits{Messages: -1}})
	checkRefused(t, ask(&admin{service: local{b}}, "POST", "/publish", body, nil), 503, "read-only")
	b = bustest.On(t, failingStore{store, driver.ErrUnknownOutcome}, nil)
	checkRefused(t, ask(&admin{service: local{b}}, "POST", "/publish", body, nil), 500, "outcome of the publish is unknown")
	b = bustest.On(t, failingStore{store, http.ErrServerClosed}, nil)
	checkRefused(t, ask(&admin{service: local{b}}, "POST", "/publish", body, nil), 503, "closed")
}

func TestAdmin_RoutesAndMethods(t *testing.T) {
	t.Parallel()
	a, _ := testAdmin(t)
	tests := []struct {
		method, target string
		status         int
		says, allow    string
	}{
		{"GET", "/nosuch", 404, "there is no /nosuch; there are: /api/channel, /api/overview, /backlog, /health, /last-id, /metrics, /publish, /subscribe", ""},
		{"GET", "/publish/", 404, "there is no /publish/", ""},
		{"GET", "/publish", 405, "it takes POST", "POST"},
		{"PUT", "/publish", 405, "it takes POST", "POST"},
		{"POST", "/health", 405, "it takes GET, HEAD", "GET, HEAD"},
		{"POST", "/backlog", 405, "it takes GET", "GET"},
		{"DELETE", "/subscribe", 405, "it takes GET", "GET"},
		{"GET", "/backlog", 400, "channel is missing", ""},
		{"GET", "/backlog?channel=/a&channel=/b", 400, "channel must be there once", ""},
		{"GET", "/backlog?channel=/a&nosuch=1", 400, `unknown parameter "nosuch"; accepted are: channel, site, after, last`, ""},
		{"GET", "/backlog?channel=/a&after=x", 400, `after is "x"`, ""},
		{"GET", "/backlog?channel=/a&last=-1", 400, `last is "-1"`, ""},
		{"GET", "/backlog?channel=/a&last=1&after=1", 400, "exclude each other", ""},
		{"GET", "/backlog?channel=/a&last=1&last=2", 400, "twice", ""},
		{"GET", "/backlog?channel=%zz", 400, "the query cannot be read", ""},
		{"GET", "/backlog?channel=%24%7C%24", 400, "site separator", ""},
		{"GET", "/backlog?channel=%ff", 400, "not valid UTF-8", ""},
		{"GET", "/last-id", 400, "channel is missing", ""},
		{"GET", "/last-id?channel=", 400, "it is empty", ""},
		{"GET", "/subscribe?channel=/a&from=first", 400, `from is "first"`, ""},
		{"GET", "/subscribe?channel=/a&site=%00", 400, "NUL", ""},
	}
	for _, test := range tests {
		w := ask(a, test.method, test.target, "", nil)
		checkRefused(t, w, test.status, test.says)
		if got := w.Header().Get("Allow"); got != test.allow {
			t.Errorf("%s %s: Allow is %q, want %q", test.method, test.target, got, test.allow)
		}
	}
}

func TestAdmin_ReadsAsTheCommandsPrint(t *testing.T) {
	t.Parallel()
	a, b := testAdmin(t)
	for _, data := range []string{"one", "two", "three"} {
		if _, err := b.Publish(t.Context(), "/a", data); err != nil {
			t.Fatal(err)
		}
	}
	line := func(id, data string) string {
		return `{"channel":"/a","id":` + id + `,"global_id":` + id + `,"data":"` + data + `"}` + "\n"
	}
	one, two, three := line("1", "one"), line("2", "two"), line("3", "three")
	for target, want := range map[string]string{
		"/backlog?channel=/a":                one + two + three,
		"/backlog?channel=/a&after=1":        two + three,
		"/backlog?channel=/a&last=1":         three,
		"/backlog?channel=/a&last=0":         "",
		"/backlog?channel=/b":                "",
		"/backlog?channel=/a&site=eu":        "",
		"/last-id?channel=/b&channel=/a":     `{"channel":"/b","last_id":0}` + "\n" + `{"channel":"/a","last_id":3}` + "\n",
		"/last-id?channel=/a&site=elsewhere": `{"channel":"/a","last_id":0}` + "\n",
	} {
		if w := ask(a, "GET", target, "", nil); w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %s; want %s", target, w.Code, w.Body, want)
		}
	}
}

func TestHealth_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	a, b := testAdmin(t)
	w := ask(a, "GET", "/health", "", nil)
	const good = `{"ok":true,"reasons":[],"listening":false,"read_only":false,"held":3,"queued":0,"given_up":0,"gaps":0,"undecodable":0,"late":0}` + "\n"
	if w.Code != 200 || w.Body.String() != good {
		t.Errorf("%d %s; want %s", w.Code, w.Body, good)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	w = ask(a, "GET", "/health", "", nil)
	if w.Code != 503 || !strings.Contains(w.Body.String(), `{"ok":false,"reasons":["the bus is closed"]`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestAdmin_WantsItsKey(t *testing.T) {
	t.Parallel()
	a, _ := testAdmin(t)
	a.setKey("s3cret")
	tests := []struct {
		authorization string
		status        int
	}{
		{"Bearer s3cret", 200},
		{"bearer s3cret", 200},
		{"Bearer  s3cret", 200},
		{"", 401},
		{"Bearer", 401},
		{"Bearer ", 401},
		{"Bearer s3cre", 401},
		{"Bearer s3crett", 401},
		{"Bearer S3CRET", 401},
		{"Basic s3cret", 401},
		{"s3cret", 401},
		{"Bearer s3cret, Bearer x", 401},
	}
	for _, test := range tests {
		for _, target := range []string{"/health", "/last-id?channel=/a"} {
			w := ask(a, "GET", target, "", map[string]string{"Authorization": test.authorization, "Origin": "http://x", "Host": "example.org"})
			if w.Code != test.status {
				t.Errorf("%q: %d, want %d", test.authorization, w.Code, test.status)
			}
			if challenged := w.Header().Get("WWW-Authenticate") != ""; challenged != (test.status == 401) {
				t.Errorf("%q: WWW-Authenticate is %q", test.authorization, w.Header().Get("WWW-Authenticate"))
			}
		}
	}
	if w := ask(a, "GET", "/nosuch", "", nil); w.Code != 401 {
		t.Errorf("without the key the paths are told: %d", w.Code)
	}
}

// Without a key the listener is on a loopback address, which web pages reach.
func TestAdmin_WithoutKeyRefusesBrowsers(t *testing.T) {
	t.Parallel()
	a, b := testAdmin(t)
	tests := []struct {
		header map[string]string
		status int
	}{
		{map[string]string{}, 200},
		{map[string]string{"Sec-Fetch-Site": "none"}, 200}, // typed into the address bar
		{map[string]string{"Host": "localhost:7411"}, 200},
		{map[string]string{"Host": "LOCALHOST"}, 200},
		{map[string]string{"Host": "[::1]:7411"}, 200},
		{map[string]string{"Host": "[::1]"}, 200},
		{map[string]string{"Host": "127.9.9.9"}, 200},
		{map[string]string{"Origin": "https://evil.example"}, 403},
		{map[string]string{"Origin": "null"}, 403},
		{map[string]string{"Origin": ""}, 403},
		{map[string]string{"Origin": "http://127.0.0.1:7411"}, 403},
		{map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{map[string]string{"Host": "evil.example:7411"}, 403},
		{map[string]string{"Host": "localhost.evil.example"}, 403},
		{map[string]string{"Host": "127.0.0.1.evil.example:7411"}, 403},
		{map[string]string{"Host": "10.0.0.1:7411"}, 403},
		{map[string]string{"Host": ""}, 403},
	}
	for _, test := range tests {
		w := ask(a, "POST", "/publish", `{"channel":"/a","data":1,"max_backlog_size":0}`, test.header)
		if w.Code != test.status {
			t.Errorf("%v: %d %s; want %d", test.header, w.Code, w.Body, test.status)
		}
	}
	if last, err := b.GlobalBacklog(t.Context(), 0); err != nil || len(last) != 0 {
		t.Errorf("stored is %v, %v", last, err)
	}
}

// Whatever is accepted is published as it was sent, and reads back the same.
func FuzzParsePublication(f *testing.F) {
	for _, bad := range badPublications {
		if len(bad.body) < 1000 {
			f.Add([]byte(bad.body))
		}
	}
	f.Add([]byte(`{"channel":"/a","data":{"x":"\ud83d\ude00"},"user_ids":[1,"1"],"site":"","max_backlog_size":0,"max_backlog_age":3}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := parsePublication(body)
		if err != nil {
			return
		}
		for _, n := range []*int64{p.MaxBacklogSize, p.MaxBacklogAge} {
			if n != nil && *n < 0 {
				t.Errorf("%q: a limit of %d", body, *n)
			}
		}
		if len(p.UserIDs) == 0 || len(p.GroupIDs) == 0 || len(p.ClientIDs) == 0 {
			return // an empty list, which the bus refuses, is written as none
		}
		text := lineText(t, p)
		again, err := parsePublication([]byte(text))
		if err != nil {
			t.Fatalf("%q: reads back with %v from %s", body, err, text)
		}
		if third := lineText(t, again); third != text {
			t.Errorf("%q: %s reads back as %s", body, text, third)
		}
	})
}
