package rubycompat_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/membus"
)

const messageRecording = "message.json"

// TestGoldenMessage replays the recorded conversions of messages and envelopes.
func TestGoldenMessage(t *testing.T) {
	t.Parallel()
	for _, c := range load[members](t, messageRecording) {
		t.Run(c.text("name"), func(t *testing.T) {
			t.Parallel()
			replayConversion(t, c)
		})
	}
}

// A conversion is what one op of message.json does. Its outcome has the outputs, or
// an error; and "input", the reason, where Go cannot have the input.
type conversion struct {
	outputs []string
	convert func(t *testing.T, c members) object
}

var conversions = map[string]conversion{
	"encode":             {[]string{"encoded", "without_ids", "decodes_to"}, encode},
	"decode":             {[]string{"message"}, decode},
	"envelope-encode":    {[]string{"envelope"}, encodeEnvelope},
	"envelope-decode":    {[]string{"opened"}, decodeEnvelope},
	"stored-name-decode": {[]string{"channel", "site_id"}, decodeStoredName},
}

func replayConversion(t *testing.T, c members) {
	t.Helper()
	op, ok := conversions[c.text("op")]
	if !ok {
		t.Fatalf("op %q is not known", c.text("op"))
	}
	got := op.convert(t, c)
	deviations := op.deviations(c, got)
	e, excepted := exceptionFor(t, messageRecording, c.text("name"))
	switch {
	case !excepted && len(deviations) > 0:
		t.Fatalf("%s\n%s", c.text("what"), strings.Join(deviations, "\n"))
	case excepted && len(deviations) == 0:
		t.Fatal("it comes out as recorded; take it out of golden/differences.json")
	case excepted:
		check := conversionRules[e.Rule]
		if check == nil {
			t.Fatalf("the rule %s is not one for conversions", e.Rule)
		}
		if wrong := check(op, c, got); wrong != "" {
			t.Fatalf("%s\nnot by the rule %s (%s): %s", c.text("what"), e.Rule, rules[e.Rule], wrong)
		}
	}
	count(messageRecording, e.Rule)
}

// deviations lists where an outcome is not as recorded.
func (op conversion) deviations(c members, got object) []string {
	var found []string
	if got["input"] != nil {
		found = append(found, fmt.Sprint("Go cannot have the input: ", got["input"]))
	}
	_, fails := c["error"]
	switch {
	case fails && got["error"] == nil:
		return append(found, fmt.Sprintf("%s, want an error such as %s", show(got), c["error"]))
	case fails:
		return found // its words are Ruby's own
	case got["error"] != nil:
		return append(found, fmt.Sprint("error: ", got["error"]))
	}
	for _, name := range op.outputs {
		if d := difference(c.value(name), got[name]); d != "" {
			found = append(found, name+": "+d)
		}
	}
	return found
}

// conversionRules check what is wanted in place of the recording; an empty answer:
// it is so.
var conversionRules = map[string]func(op conversion, c members, got object) string{
	"ruby-only": func(op conversion, c members, got object) string {
		rest := op.deviations(c, without(got, "input"))
		if got["input"] == nil {
			return "Go can have the input"
		}
		return strings.Join(rest, "; ")
	},
	"unreadable-refused": func(_ conversion, _ members, got object) string {
		if err, _ := got["error"].(error); errors.Is(err, bus.ErrInvalidData) {
			return ""
		}
		return fmt.Sprintf("%v, want the error %v", got, bus.ErrInvalidData)
	},
	"strict-json": func(_ conversion, _ members, got object) string {
		err, _ := got["error"].(error)
		if _, undecodable := errors.AsType[*bus.DecodeError](err); undecodable {
			return ""
		}
		return fmt.Sprintf("%v, want a DecodeError", got)
	},
	"data-as-stored": func(_ conversion, c members, got object) string {
		opened, _ := got["opened"].(object)
		want, _ := c.value("opened").(object)
		data := memberOf([]byte(c.text("envelope")), "data")
		if d := difference(parse(data), opened["data"]); d != "" {
			return d
		}
		return difference(without(want, "data"), without(opened, "data"))
	},
}

func without(o object, name string) object {
	rest := object{}
	for n, v := range o {
		if n != name {
			rest[n] = v
		}
	}
	return rest
}

// memberOf returns the last member of that name as it is written.
func memberOf(envelope []byte, name string) json.RawMessage {
	var all members
	if json.Unmarshal(envelope, &all) != nil {
		return nil
	}
	return all[name]
}

func encode(_ *testing.T, c members) object {
	m := driver.Message{
		GlobalID: driver.ParseInt(string(c["global_id"])), ID: driver.ParseInt(string(c["message_id"])),
		Channel: c.text("channel"), Data: []byte(c.text("data")),
	}
	encoded := m.Encode()
	again, err := driver.Decode(encoded)
	if err != nil {
		return object{"error": err}
	}
	rest := bytes.SplitN(encoded, []byte("|"), 3)[2]
	got := object{"encoded": string(encoded), "without_ids": string(rest), "decodes_to": rawMessage(again)}
	switch {
	case string(c["global_id"]) == "null":
		// What Ruby wrote in place of the ids is read as it reads it.
		got["input"] = "an id that is nil"
		got["encoded"] = "||" + string(rest)
	case c["error"] != nil:
		got["input"] = "strings of two encodings; in Go they are bytes"
		if difference(rawMessage(m), got["decodes_to"]) == "" {
			got["error"] = "none, and the message comes back as it was"
		}
	}
	return got
}

func decode(_ *testing.T, c members) object {
	m, err := driver.Decode([]byte(c.text("encoded")))
	if err != nil {
		return object{"error": err}
	}
	got := object{"message": rawMessage(m)}
	if beyond64Bits(c.value("message")) {
		got["input"] = "an integer beyond 64 bits, which no store gives as an id"
		got["message"] = c.value("message")
		if m.GlobalID <= 0 || m.ID <= 0 {
			got["message"] = rawMessage(m)
		}
	}
	return got
}

func beyond64Bits(message any) bool {
	for _, v := range message.(object) {
		if n, ok := v.(json.Number); ok {
			if _, err := n.Int64(); err != nil {
				return true
			}
		}
	}
	return false
}

// rawMessage is a message as a backend has it.
func rawMessage(m driver.Message) object {
	return object{
		"global_id": number(m.GlobalID), "message_id": number(m.ID),
		"channel": m.Channel, "data": string(m.Data),
	}
}

// encodeEnvelope publishes, and looks at what the store is handed.
func encodeEnvelope(t *testing.T, c members) object {
	options, reason := targetOptions(c)
	if reason != "" {
		return readBack(t, c, reason)
	}
	if source := c.text("ruby_data"); source != "" {
		return encodeRubyData(t, c, source, options)
	}
	data := payload(c["data"])
	got := publishedEnvelope(t, data, options)
	if wrong := encodedFromValues(t, c, options); wrong != "" {
		got["error"] = wrong
	}
	return got
}

// encodeRubyData publishes what Ruby made of a value that only Ruby has.
func encodeRubyData(t *testing.T, c members, source string, options []bus.PublishOption) object {
	text := strings.TrimPrefix(c.text("envelope"), `{"data":`)
	if i := strings.LastIndex(text, `,"user_ids":`); i >= 0 {
		text = text[:i]
	}
	var data any = json.RawMessage(text)
	if _, fails := c["error"]; fails {
		data = "\xff" // Ruby refuses strings that are broken, and nothing else
	}
	got := publishedEnvelope(t, data, options)
	got["input"] = "the Ruby value " + source
	return got
}

// encodedFromValues publishes the data as Go values, which must come to the same
// JSON, and to the same bytes where they are a string.
func encodedFromValues(t *testing.T, c members, options []bus.PublishOption) string {
	value := c.value("data")
	got := publishedEnvelope(t, value, options)
	envelope, _ := got["envelope"].(string)
	if _, isString := value.(string); isString && envelope != c.text("envelope") {
		return fmt.Sprintf("from a Go value: %v", got)
	}
	if d := difference(parse(json.RawMessage(c.text("envelope"))), parse(json.RawMessage(envelope))); d != "" {
		return "from a Go value: " + d
	}
	return ""
}

// readBack replaces a publish that Go cannot do: the envelope that Ruby wrote is
// read, and must come to what it says.
func readBack(t *testing.T, c members, reason string) object {
	m, err := open(t, driver.Message{GlobalID: 1, ID: 1, Channel: "/a", Data: []byte(c.text("envelope"))})
	if err != nil && reason == notALists {
		return object{"input": reason + "; reading it is an error", "envelope": c.text("envelope")}
	}
	if err != nil {
		return object{"input": reason, "error": err}
	}
	return object{"input": reason, "envelope": string(envelopeOf(m))}
}

const notALists = "a target that is not a list"

// targetOptions are the targets of a case as options of Publish; or the reason why
// Go cannot have them.
func targetOptions(c members) (options []bus.PublishOption, reason string) {
	for _, name := range []string{"user_ids", "group_ids", "client_ids"} {
		if string(c[name]) == "[]" {
			return nil, "an empty list of targets behind the back of publish, which refuses it"
		}
		option, reason := targetOption(name, c[name])
		if reason != "" {
			return nil, reason
		}
		if option != nil {
			options = append(options, option)
		}
	}
	return options, ""
}

func targetOption(name string, raw json.RawMessage) (option bus.PublishOption, reason string) {
	if raw == nil || string(raw) == "null" {
		return nil, ""
	}
	list, ok := parse(raw).([]any)
	if !ok {
		return nil, notALists
	}
	if name == "client_ids" {
		return clientsOption(list)
	}
	return idsOption(name, list)
}

func clientsOption(list []any) (option bus.PublishOption, reason string) {
	clients := make([]string, len(list))
	for i, v := range list {
		s, ok := v.(string)
		if !ok {
			return nil, fmt.Sprintf("the client id %s, which is no string", show(v))
		}
		clients[i] = s
	}
	return bus.ToClients(clients...), ""
}

func idsOption(name string, list []any) (option bus.PublishOption, reason string) {
	ids := make([]bus.ID, len(list))
	for i, v := range list {
		switch v := v.(type) {
		case string:
			ids[i] = bus.StringID(v)
		case json.Number:
			n, err := v.Int64()
			if err != nil {
				return nil, fmt.Sprintf("the id %v, which is no integer of 64 bits", v)
			}
			ids[i] = bus.IntID(n)
		default:
			return nil, fmt.Sprintf("the id %s, which is neither integer nor string", show(v))
		}
	}
	if name == "group_ids" {
		return bus.ToGroups(ids...), ""
	}
	return bus.ToUsers(ids...), ""
}

// publishedEnvelope returns what Publish hands to the store.
func publishedEnvelope(t *testing.T, data any, options []bus.PublishOption) object {
	t.Helper()
	store := &recorder{Backend: memory(t)}
	_, err := newBus(t, store).Publish(t.Context(), "/a", data, options...)
	if err != nil {
		return object{"error": err}
	}
	return object{"envelope": string(store.data)}
}

// A recorder is a store that keeps the last envelope it was handed.
type recorder struct {
	driver.Backend

	data []byte
}

func (r *recorder) Publish(ctx context.Context, channel string, data []byte, limits driver.Limits) (driver.Position, error) {
	r.data = bytes.Clone(data)
	return r.Backend.Publish(ctx, channel, data, limits)
}

func decodeEnvelope(t *testing.T, c members) object {
	m, err := open(t, driver.Message{GlobalID: 1, ID: 1, Channel: "/a", Data: []byte(c.text("envelope"))})
	got := object{}
	if err != nil {
		got["error"] = err
	} else {
		got["opened"] = openedEnvelope(m)
	}
	if c.text("envelope") != "" && c.text("envelope")[0] == '"' && c["error"] == nil {
		got["input"] = "a string that is asked for a member, as a hash is"
		if _, is := errors.AsType[*bus.DecodeError](err); is {
			return object{"input": got["input"], "opened": c.value("opened")}
		}
	}
	return got
}

func decodeStoredName(t *testing.T, c members) object {
	m, err := open(t, driver.Message{GlobalID: 1, ID: 1, Channel: c.text("stored_channel"), Data: []byte(`{"data":1}`)})
	if err != nil {
		return object{"channel": nil, "site_id": nil} // undecodable: no name
	}
	return object{"channel": m.Channel, "site_id": siteOf(m)}
}

// open lets the bus read one stored message.
func open(t *testing.T, stored driver.Message) (bus.Message, error) {
	t.Helper()
	found, err := newBus(t, &shelf{Backend: memory(t), message: stored}).GlobalBacklog(t.Context(), 0)
	if err != nil {
		return bus.Message{}, err
	}
	if len(found) != 1 {
		t.Fatalf("%d messages read, want the one stored", len(found))
	}
	return found[0], nil
}

// A shelf is a store that holds one message.
type shelf struct {
	driver.Backend

	message driver.Message
}

func (s *shelf) GlobalBacklog(context.Context, int64, int) (driver.GlobalPage, error) {
	return driver.GlobalPage{
		Messages: []driver.Message{s.message},
		State:    driver.State{GlobalID: s.message.GlobalID, Settled: s.message.GlobalID, Epoch: "e"},
	}, nil
}

func memory(t *testing.T) driver.Backend {
	t.Helper()
	store, err := membus.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func newBus(t *testing.T, store driver.Backend) *bus.Bus {
	t.Helper()
	b, err := bus.New(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}
