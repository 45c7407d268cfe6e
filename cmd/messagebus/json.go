package main

import (
	"encoding/json"
	"io"

	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/strictjson"
)

// encode writes v as one line, as JSON is written on the wire: no HTML escapes.
func encode(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// clip cuts a foreign value for an error.
func clip(s string) string { return strictjson.Clip(s, 60) }
