package identity

import (
	"net/http"
	"net/netip"
	"slices"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/strictjson"
	"github.com/messagebus-go/messagebus/transport"
)

func TestHeader_BelievesTrustedProxiesOnly(t *testing.T) {
	t.Parallel()
	const good = `{"user":5,"groups":[1,"staff"],"site":"a"}`
	defaults := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	tests := []struct {
		name    string
		trusted []netip.Prefix
		remote  string
		values  []string
		status  int // 0: accepted
	}{
		{"loopback", defaults, "127.0.0.1:1", []string{good}, 0},
		{"all of 127/8", defaults, "127.8.9.1:1", []string{good}, 0},
		{"IPv6 loopback", defaults, "[::1]:1", []string{good}, 0},
		{"mapped loopback", defaults, "[::ffff:127.0.0.1]:1", []string{good}, 0},
		{"other address", defaults, "10.0.0.1:1", []string{good}, 403},
		{"other address, mapped", defaults, "[::ffff:10.0.0.1]:1", []string{good}, 403},
		{"other IPv6 address", defaults, "[2001:db8::1]:1", []string{good}, 403},
		{"other address, malformed", defaults, "10.0.0.1:1", []string{"{"}, 403},
		{"other address, empty", defaults, "10.0.0.1:1", []string{""}, 403},
		{"other address, anonymous", defaults, "10.0.0.1:1", nil, 0},
		{"own network", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, "10.9.9.9:1", []string{good}, 0},
		{"own network without loopback", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, "127.0.0.1:1", []string{good}, 403},
		{"zone", []netip.Prefix{netip.MustParsePrefix("fe80::/10")}, "[fe80::1%eth0]:1", []string{good}, 0},
		{"Unix socket", defaults, "@", []string{good}, 403},
		{"no address", defaults, "", []string{good}, 403},
		{"name", defaults, "localhost:1", []string{good}, 403},
		{"twice", defaults, "127.0.0.1:1", []string{good, good}, 403},
		{"twice in one line", defaults, "127.0.0.1:1", []string{good + ", " + good}, 403},
		{"empty", defaults, "127.0.0.1:1", []string{""}, 403},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := &http.Request{RemoteAddr: test.remote, Header: http.Header{}}
			for _, value := range test.values {
				r.Header.Add(HeaderName, value) //nolint:canonicalheader // written as it is documented
			}
			id, err := Header{test.trusted}.Identify(r)
			status := 0
			if err != nil {
				status = err.(interface{ StatusCode() int }).StatusCode()
			}
			if status != test.status {
				t.Errorf("status %d (%v), want %d", status, err, test.status)
			}
			if known := id.Site != ""; known != (test.values != nil && status == 0) {
				t.Errorf("identity is %+v", id)
			}
		})
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	good := []struct {
		value string
		want  transport.Identity
	}{
		{`{}`, transport.Identity{}},
		{`{"user":null,"groups":null,"site":null}`, transport.Identity{}},
		{`{"user":5}`, transport.Identity{UserID: bus.IntID(5)}},
		{`{"user":"5"}`, transport.Identity{UserID: bus.StringID("5")}},
		{`{"user":-9223372036854775808}`, transport.Identity{UserID: bus.IntID(-1 << 63)}},
		{` { "user" : "ann" , "site" : "é" } `, transport.Identity{UserID: bus.StringID("ann"), Site: "é", Sited: true}},
		{`{"site":""}`, transport.Identity{Sited: true}},
		{`{"groups":[1,"1","staff"]}`, transport.Identity{GroupIDs: []bus.ID{bus.IntID(1), bus.StringID("1"), bus.StringID("staff")}}},
	}
	for _, test := range good {
		got, err := Parse([]byte(test.value))
		if err != nil || got.UserID != test.want.UserID || got.Site != test.want.Site || got.Sited != test.want.Sited || !slices.Equal(got.GroupIDs, test.want.GroupIDs) {
			t.Errorf("%s: %+v, %v; want %+v", test.value, got, err, test.want)
		}
	}
	for _, bad := range badIdentities {
		if got, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%q is accepted as %+v", bad, got)
		}
	}
}

var badIdentities = []string{
	``, ` `, `null`, `5`, `[]`, `"x"`, `{`, `{}{}`, `{} x`, `{"user":5}}`, `{'user':5}`, `{"user":5,}`,
	`{"user":1.5}`, `{"user":5.0}`, `{"user":1e3}`, `{"user":true}`, `{"user":{}}`, `{"user":[]}`, `{"user":9223372036854775808}`,
	`{"user":5,"user":6}`, `{"User":5}`, `{"admin":true}`, `{"user":5,"role":"x"}`, `{"":1}`,
	`{"groups":1}`, `{"groups":"staff"}`, `{"groups":[null]}`, `{"groups":[[1]]}`, `{"groups":[1.0]}`, `{"groups":{}}`,
	`{"channels":null}`, `{"channels":"/a"}`, `{"channels":["a"]}`, `{"channels":[""]}`, `{"channels":[1]}`, `{"channels":["/a\n"]}`,
	`{"expires":"x"}`, `{"expires":-1}`, `{"expires":1e300}`, `{"expires":[]}`,
	`{"site":1}`, `{"site":"a$|$b"}`, `{"site":"$$123$$"}`, `{"site":"\u0000"}`,
	`{"user":"\ud800"}`, "{\"user\":\"\xff\"}", `{"user":"\udc00\ud800"}`,
}

// Whatever is accepted names a user and groups that keep their JSON type.
func FuzzParse(f *testing.F) {
	for _, bad := range badIdentities {
		f.Add(bad)
	}
	f.Add(`{"user":5,"groups":[1,"staff"],"site":"a"}`)
	f.Fuzz(func(t *testing.T, value string) {
		id, err := Parse([]byte(value))
		if err != nil {
			return
		}
		for _, one := range append(id.GroupIDs, id.UserID) {
			if one.IsZero() {
				continue
			}
			raw, err := one.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			if again, err := strictjson.ID(raw); err != nil || again != one {
				t.Errorf("%q: the id %v reads back as %v, %v", value, one, again, err)
			}
		}
	})
}
