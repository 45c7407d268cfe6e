package rubycompat_test

import (
	"slices"
	"testing"
)

// TestModel_AgreesWithTheRecordings shows that the model, which says what is wanted
// where a rule is at work, differs from the gem nowhere else.
func TestModel_AgreesWithTheRecordings(t *testing.T) {
	t.Parallel()
	for recording, postgres := range map[string]bool{redisRecording: false, postgresRecording: true} {
		for _, s := range load[*story](t, recording) {
			_, excepted := exceptionFor(t, recording, s.name)
			if excepted || slices.ContainsFunc(s.steps, beyondTheModel) || len(s.buses) > 1 {
				continue
			}
			modelled := s.clone()
			ours(modelled, postgres)
			for i := range s.steps {
				if d := difference(s.steps[i].want, modelled.steps[i].want); d != "" {
					t.Errorf("%s, %s: step %d, %s: %s", recording, s.name, i, s.steps[i].describe(), d)
				}
			}
		}
	}
}

// beyondTheModel reports whether a step changes the store in a way that the model
// does not know.
func beyondTheModel(s step) bool {
	switch s.op {
	case "keepalive", "on", "off", "backend.publish", "backend.expire_all_backlogs!":
		return true
	case "sql":
		return true
	default:
		return false
	}
}
