package bus

// For tests of this package alone.
var (
	EncodeEnvelope = func(payload []byte) []byte { return encodeEnvelope(payload, targets{}) }
	DecodeEnvelope = func(b []byte) (payload []byte, users, groups []ID, clients []string, err error) {
		payload, to, err := decodeEnvelope(b)
		return payload, to.users, to.groups, to.clients, err
	}
	EncodePayload = func(data any) ([]byte, error) {
		scratch := payloadEncoders.New().(*payloadEncoder)
		return encodePayload(scratch, data)
	}
	DecodeAnyEnvelope = func(b []byte) (payload []byte, users, groups []ID, clients []string, err error) {
		payload, to, err := decodeAnyEnvelope(b)
		return payload, to.users, to.groups, to.clients, err
	}
	SplitStoredName = splitStoredName
	SurelyFit       = func(b []byte) bool { return surelyFit(b, maxDepth) }
	CheckJSON       = func(b []byte) error { return checkJSON(b, maxDepth, true) }
)
