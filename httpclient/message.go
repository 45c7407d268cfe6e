package httpclient

import "encoding/json"

// A Message is one message of a channel.
type Message struct {
	// Channel is the name that it was published under.
	Channel string

	// ID is the message id: it counts the messages of the channel.
	ID int64

	// GlobalID is the message's number in the store, over all channels.
	GlobalID int64

	// Data is the JSON that was published. It is the receiver's to keep and to change.
	Data json.RawMessage
}

// Decode stores the data in the value that v points to, as json.Unmarshal does.
func (m Message) Decode(v any) error { return json.Unmarshal(m.Data, v) }
