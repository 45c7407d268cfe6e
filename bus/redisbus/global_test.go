package redisbus

import (
	"testing"

	"github.com/messagebus-go/messagebus/bus/driver"
)

func TestBegunAnew_TellsAResetFromAFirstEpochAndFromALostCounter(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before   driver.State
		epoch    string
		globalID int64
		want     bool
	}{
		"nothing happened":                 {driver.State{Epoch: "a", GlobalID: 5}, "a", 5, false},
		"published meanwhile":              {driver.State{Epoch: "a", GlobalID: 5}, "a", 9, false},
		"another epoch":                    {driver.State{Epoch: "a", GlobalID: 5}, "b", 9, true},
		"the epoch is gone":                {driver.State{Epoch: "a", GlobalID: 5}, "", 5, true},
		"the first epoch":                  {driver.State{GlobalID: 5}, "a", 5, false},
		"no epoch and ids that go back":    {driver.State{GlobalID: 5}, "a", 4, true},
		"ids that began again long ago":    {driver.State{GlobalID: 1}, "", 1, false},
		"the same epoch, ids that go back": {driver.State{Epoch: "a", GlobalID: 5}, "a", 0, true},
	} {
		if got := begunAnew(test.before, test.epoch, test.globalID); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
