package rubycompat_test

import (
	"encoding/json"
	"strings"

	"github.com/messagebus-go/messagebus/bus"
)

// openedMessage is a message as Ruby's bus hands it out.
func openedMessage(m bus.Message) object {
	opened := openedEnvelope(m)
	opened["global_id"], opened["message_id"] = number(m.GlobalID), number(m.ID)
	opened["channel"], opened["site_id"] = m.Channel, siteOf(m)
	return opened
}

func openedEnvelope(m bus.Message) object {
	return object{
		"data": parse(m.Data), "user_ids": list(m.UserIDs, idJSON),
		"group_ids": list(m.GroupIDs, idJSON), "client_ids": list(m.ClientIDs, clientJSON),
	}
}

// siteOf is nil for the empty site as well: so Ruby reads it.
func siteOf(m bus.Message) any {
	if m.Site == "" {
		return nil
	}
	return m.Site
}

func list[T any](targets []T, asJSON func(T) string) any {
	if targets == nil {
		return nil
	}
	all := make([]any, len(targets))
	for i, target := range targets {
		all[i] = parse(json.RawMessage(asJSON(target)))
	}
	return all
}

func idJSON(id bus.ID) string { return id.String() }

// clientJSON is the JSON of a client id. What is no string carries a mark.
func clientJSON(id string) string {
	if other, marked := strings.CutPrefix(id, "\x00"); marked {
		return other
	}
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(id); err != nil {
		return err.Error() // a string always has a JSON form
	}
	return strings.TrimSuffix(text.String(), "\n")
}

// unopenedMessage is a message as Ruby's backends hand it out: with its stored name
// and its envelope.
func unopenedMessage(m bus.Message) object {
	channel := m.Channel
	if m.Sited {
		channel += "$|$" + m.Site
	}
	return object{
		"global_id": number(m.GlobalID), "message_id": number(m.ID),
		"channel": channel, "data": string(envelopeOf(m)),
	}
}

// envelopeOf writes an envelope again.
func envelopeOf(m bus.Message) []byte {
	b := append([]byte(`{"data":`), m.Data...)
	b = appendList(append(b, `,"user_ids":`...), m.UserIDs, idJSON)
	b = appendList(append(b, `,"group_ids":`...), m.GroupIDs, idJSON)
	b = appendList(append(b, `,"client_ids":`...), m.ClientIDs, clientJSON)
	return append(b, '}')
}

func appendList[T any](b []byte, targets []T, asJSON func(T) string) []byte {
	if targets == nil {
		return append(b, "null"...)
	}
	all := make([]string, len(targets))
	for i, target := range targets {
		all[i] = asJSON(target)
	}
	return append(b, "["+strings.Join(all, ",")+"]"...)
}
