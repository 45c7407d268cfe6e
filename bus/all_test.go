package bus_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
)

// One channel is trimmed while others are not: what is missing lies between what is
// there, and the reader of all is told where.
func TestSubscribeAll_TellsOfEveryHole(t *testing.T) {
	t.Parallel()
	store := bustest.NewStore(t)
	b := bustest.On(t, store, nil)
	for i := range 9 { // global ids 1 to 9
		publish(t, b, []string{"/busy", "/quiet", "/busy"}[i%3], i)
	}
	m, err := b.SubscribeAll(t.Context(), bus.AfterGlobal(0))
	if err != nil {
		t.Fatal(err)
	}
	first, err := m.Next(t.Context())
	if err != nil || first.GlobalID != 1 {
		t.Fatalf("got %+v, %v", first, err)
	}
	store.Faults().Trim("/busy", 1) // 1 3 4 6 7 are gone
	publish(t, b, "/gone", 9)
	store.Faults().Trim("/gone", 0)

	again, err := b.SubscribeAll(t.Context(), first.GlobalPosition())
	if err != nil {
		t.Fatal(err)
	}
	publish(t, b, "/quiet", 10)
	var got []string
	for len(got) == 0 || got[len(got)-1] != "11" {
		m, err := again.Next(t.Context())
		var gap *bus.GapError
		switch {
		case errors.As(err, &gap):
			got = append(got, fmt.Sprintf("(%d %d)", gap.After, gap.Next))
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, fmt.Sprint(m.GlobalID))
		}
	}
	if got, want := strings.Join(got, " "), "2 (2 5) 5 (5 8) 8 9 (9 11) 11"; got != want {
		t.Errorf("the reader was handed %s, want %s", got, want)
	}
}
