package bus

// For tests of this package alone.
var (
	EncodeEnvelope = func(payload []byte) []byte { return encodeEnvelope(payload, targets{}) }
	DecodeEnvelope = func(b []byte) (payload []byte, users, groups []ID, clients []string, err error) {
		payload, to, err := decodeEnvelope(b)
		return payload, to.users, to.groups, to.clients, err
	}
	EncodePayload   = encodePayload
	SplitStoredName = splitStoredName
)
