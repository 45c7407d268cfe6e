package bus_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
)

func TestDecodeEnvelope_ReadsWhatAnyPublisherWrites(t *testing.T) {
	t.Parallel()
	one, text := bus.IntID(1), bus.StringID("1")
	for name, test := range map[string]struct {
		envelope string
		data     string // empty: undecodable
		users    []bus.ID
		groups   []bus.ID
		clients  []string
	}{
		"as publish writes it":     {envelope: `{"data":{"a":[1,2.0,null]},"user_ids":[1,"1"],"group_ids":["1"],"client_ids":["c"]}`, data: `{"a":[1,2.0,null]}`, users: []bus.ID{one, text}, groups: []bus.ID{text}, clients: []string{"c"}},
		"for everyone":             {envelope: `{"data":"x","user_ids":null,"group_ids":null,"client_ids":null}`, data: `"x"`},
		"other order":              {envelope: `{"client_ids":null,"user_ids":[1],"data":"x","group_ids":null}`, data: `"x"`, users: []bus.ID{one}},
		"missing members":          {envelope: `{"data":1}`, data: `1`},
		"no members":               {envelope: `{}`, data: `null`},
		"unknown members":          {envelope: `{"data":1,"x":{"data":2}}`, data: `1`},
		"a member twice":           {envelope: `{"data":1,"data":2,"user_ids":[1],"user_ids":null}`, data: `2`},
		"another case":             {envelope: `{"data":1,"DATA":2,"User_ids":[1]}`, data: `1`},
		"white space":              {envelope: " \n{ \"data\" : \"x\" }\t\n", data: `"x"`},
		"members inside the data":  {envelope: `{"data":{"user_ids":[1],"x":"\",\"user_ids\":null,\"group_ids\":null,\"client_ids\":null}"},"user_ids":null,"group_ids":null,"client_ids":null}`, data: `{"user_ids":[1],"x":"\",\"user_ids\":null,\"group_ids\":null,\"client_ids\":null}"}`},
		"a null and a float":       {envelope: `{"data":1,"user_ids":[null,7.0]}`, data: `1`, users: []bus.ID{{}, floatID(t, "7.0")}},
		"clients that are numbers": {envelope: `{"data":1,"client_ids":[12]}`, data: `1`, clients: []string{"\x0012"}},
		"empty lists":              {envelope: `{"data":1,"user_ids":[],"group_ids":[],"client_ids":[]}`, data: `1`, users: []bus.ID{}, groups: []bus.ID{}, clients: []string{}},
		"depth 99":                 {envelope: `{"data":` + nested(99) + `}`, data: nested(99)},
		"depth 100":                {envelope: `{"data":` + nested(100) + `,"user_ids":null,"group_ids":null,"client_ids":null}`},
		"a target that is no list": {envelope: `{"data":1,"user_ids":7}`},
		"comment":                  {envelope: `{"data":/* c */1}`},
		"NaN":                      {envelope: `{"data":NaN,"user_ids":null,"group_ids":null,"client_ids":null}`},
		"lone surrogate":           {envelope: `{"data":"a\ud83dz"}`},
		"invalid UTF-8":            {envelope: "{\"data\":\"\xff\",\"user_ids\":null,\"group_ids\":null,\"client_ids\":null}"},
		"array":                    {envelope: `[1]`},
		"string":                   {envelope: `"data"`},
		"number":                   {envelope: `5`},
		"null":                     {envelope: `null`},
		"empty":                    {envelope: ``},
		"trailing":                 {envelope: `{"data":1} x`},
		"truncated":                {envelope: `{"data":"x","user_ids":null,"group_ids":null,"client_ids":null`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, users, groups, clients, err := bus.DecodeEnvelope([]byte(test.envelope))
			if test.data == "" {
				if err == nil {
					t.Fatalf("it was read as %s", data)
				}
				return
			}
			if err != nil || string(data) != test.data || !slices.Equal(users, test.users) || !slices.Equal(groups, test.groups) || !slices.Equal(clients, test.clients) {
				t.Errorf("got %s %v %v %q, %v", data, users, groups, clients, err)
			}
		})
	}
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func floatID(t *testing.T, text string) bus.ID {
	t.Helper()
	var id bus.ID
	if err := json.Unmarshal([]byte(text), &id); err != nil {
		t.Fatal(err)
	}
	return id
}

func FuzzDecodeEnvelope(f *testing.F) {
	for _, seed := range []string{
		`{"data":"x","user_ids":null,"group_ids":null,"client_ids":null}`,
		`{"data":{"a":[1,2.0,null]},"user_ids":[1,"1",2.5,null,[]],"group_ids":["g"],"client_ids":["c",1]}`,
		`{"data":"\ud83d\ude00","x":1}`, `{}`, `null`, `{"data":1e400}`, nested(200),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		payload, users, groups, clients, err := bus.DecodeEnvelope(b)
		if err != nil {
			return
		}
		if !json.Valid(payload) {
			t.Fatalf("%q gave the payload %q, which is not JSON", b, payload)
		}
		// Whoever has a list of targets keeps one: nothing becomes a message for everyone.
		var members map[string]json.RawMessage
		if err := json.Unmarshal(b, &members); err != nil {
			t.Fatalf("%q was read, and is not a JSON object: %v", b, err)
		}
		for name, n := range map[string]int{"user_ids": len(users), "group_ids": len(groups), "client_ids": len(clients)} {
			var list []json.RawMessage
			if json.Unmarshal(members[name], &list) == nil && len(list) != n {
				t.Errorf("%q: %s has %d elements, %d were read", b, name, len(list), n)
			}
		}
		if users == nil && groups == nil && clients == nil {
			again, _, _, _, err := bus.DecodeEnvelope(bus.EncodeEnvelope(payload))
			if err != nil || string(again) != string(payload) {
				t.Errorf("payload %q did not survive: %q, %v", payload, again, err)
			}
		}
	})
}

func TestSplitStoredName_ReadsAsTheGem(t *testing.T) {
	t.Parallel()
	for stored, want := range map[string][2]string{
		"/chat": {"/chat", ""}, "/chat$|$site-a": {"/chat", "site-a"}, "/a$|$b$|$c": {"/a", "b"},
		"/a$|$": {"/a", ""}, "$|$b": {"", "b"}, "/global/a$|$b": {"/global/a", "b"},
	} {
		channel, site, err := bus.SplitStoredName(stored)
		if err != nil || channel != want[0] || site != want[1] {
			t.Errorf("%q is %q, %q, %v", stored, channel, site, err)
		}
	}
	for _, stored := range []string{"", "$|$"} {
		if _, _, err := bus.SplitStoredName(stored); err == nil {
			t.Errorf("%q has no channel and was read", stored)
		}
	}
}

func TestID_ComparesAsRuby(t *testing.T) {
	t.Parallel()
	if bus.IntID(1) == bus.StringID("1") {
		t.Error(`1 and "1" are two users`)
	}
	if seven := floatID(t, "7.0"); seven == bus.IntID(7) || seven.User() != bus.IntID(7) {
		t.Error("as a user 7.0 is 7, as a group it is not")
	}
	if floatID(t, "7.5").User() != floatID(t, "75e-1").User() {
		t.Error("7.5 and 75e-1 are one user")
	}
	for _, text := range []string{`7`, `-7`, `"a\"<é"`, `null`, `7.50`, `123456789012345678901234567890`, `[1]`} {
		out, err := json.Marshal(floatID(t, text))
		var compact string
		if err != nil || string(out) != text && json.Unmarshal(out, &compact) != nil {
			t.Errorf("%s came back as %s, %v", text, out, err)
		}
	}
}
