package transport_test

import (
	"encoding/json"
	"testing"
)

type wireMessage struct {
	GlobalID int             `json:"global_id"`
	ID       int             `json:"message_id"`
	Channel  string          `json:"channel"`
	Data     json.RawMessage `json:"data"`
}

func decode(tb testing.TB, part string) []wireMessage {
	tb.Helper()
	var messages []wireMessage
	if err := json.Unmarshal([]byte(part), &messages); err != nil {
		tb.Fatalf("part %s: %v", part, err)
	}
	return messages
}
