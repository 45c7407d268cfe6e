package bus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// targets are who may have a message; nil: no such target.
type targets struct {
	users, groups []ID
	clients       []string
}

// What stands between the values of an envelope, as Publish and the gem write it.
const (
	envelopeStart   = `{"data":`
	envelopeUsers   = `,"user_ids":`
	envelopeGroups  = `,"group_ids":`
	envelopeClients = `,"client_ids":`
	envelopeEnd     = `}`
)

// encodeMessage returns the envelope for a payload that is not encoded yet.
func encodeMessage(data any, to targets) ([]byte, error) {
	scratch, _ := payloadEncoders.Get().(*payloadEncoder) // it holds nothing else
	defer scratch.release()
	payload, err := encodePayload(scratch, data)
	if err != nil {
		return nil, err
	}
	return encodeEnvelope(payload, to), nil
}

// encodeEnvelope returns what is stored, member by member as the gem has it.
func encodeEnvelope(payload []byte, to targets) []byte {
	const rest = len(envelopeStart + envelopeUsers + envelopeGroups + envelopeClients + envelopeEnd + "nullnullnull")
	b := make([]byte, 0, rest+len(payload)+16*(len(to.users)+len(to.groups))+40*len(to.clients))
	b = append(b, envelopeStart...)
	b = append(b, payload...)
	b = appendTarget(append(b, envelopeUsers...), to.users, ID.appendJSON)
	b = appendTarget(append(b, envelopeGroups...), to.groups, ID.appendJSON)
	b = appendTarget(append(b, envelopeClients...), to.clients, func(s string, b []byte) []byte { return appendJSONString(b, s) })
	return append(b, envelopeEnd...)
}

func appendTarget[T any](b []byte, list []T, appendOne func(T, []byte) []byte) []byte {
	if list == nil {
		return append(b, "null"...)
	}
	b = append(b, '[')
	for i, one := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendOne(one, b)
	}
	return append(b, ']')
}

var (
	errNotJSON   = errors.New("not JSON")
	errNotObject = errors.New("not a JSON object")
)

// decodeEnvelope reads what is stored, by any publisher. The payload shares
// memory with b.
func decodeEnvelope(b []byte) (json.RawMessage, targets, error) {
	if payload, to, ok := scanEnvelope(b); ok {
		return payload, to, nil
	}
	return decodeAnyEnvelope(b)
}

// decodeAnyEnvelope reads what was not written as Publish and the gem do.
func decodeAnyEnvelope(b []byte) (json.RawMessage, targets, error) {
	if !json.Valid(b) {
		return nil, targets{}, fmt.Errorf("envelope %s: %w", shorten(b), errNotJSON)
	}
	if err := checkJSON(b, maxDepth+1, false); err != nil {
		return nil, targets{}, fmt.Errorf("envelope: %w", err)
	}
	members, err := envelopeMembers(b)
	if err != nil {
		return nil, targets{}, err
	}
	to, err := decodeTargets(members)
	if payload, ok := members["data"]; ok {
		return payload, to, err
	}
	return json.RawMessage("null"), to, err
}

// envelopeMembers reads the members by their exact names, the last of equals,
// which encoding/json's matching by fold of case would mix up.
func envelopeMembers(b []byte) (map[string]json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(b))
	if first, err := decoder.Token(); err != nil || first != json.Delim('{') {
		return nil, fmt.Errorf("envelope %s: %w", shorten(b), errNotObject)
	}
	members := make(map[string]json.RawMessage, 4)
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, fmt.Errorf("envelope: %w", err)
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, fmt.Errorf("envelope: member %v: %w", name, err)
		}
		if name, ok := name.(string); ok {
			members[name] = value
		}
	}
	return members, nil
}

func decodeTargets(members map[string]json.RawMessage) (to targets, err error) {
	if err = decodeTarget(members, "user_ids", &to.users); err != nil {
		return to, err
	}
	if err = decodeTarget(members, "group_ids", &to.groups); err != nil {
		return to, err
	}
	var clients []json.RawMessage
	if err = decodeTarget(members, "client_ids", &clients); err != nil {
		return to, err
	}
	if clients != nil {
		to.clients = make([]string, len(clients))
	}
	for i, raw := range clients {
		to.clients[i] = clientID(raw)
	}
	return to, nil
}

func decodeTarget[T any](members map[string]json.RawMessage, name string, list *[]T) error {
	raw, ok := members[name]
	if !ok {
		return nil
	}
	if err := json.Unmarshal(raw, list); err != nil {
		return fmt.Errorf("envelope: %s is %s: it must be a list or null", name, shorten(raw))
	}
	return nil
}

// clientID reads one element of client_ids. What is no string can match no
// client, and must not vanish from the list either, or the message would be
// for everyone: NUL, which no client id contains, marks it.
func clientID(raw json.RawMessage) string {
	var s string
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "\x00" + string(raw)
	}
	return s
}
