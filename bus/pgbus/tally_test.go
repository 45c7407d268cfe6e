package pgbus

import (
	"fmt"
	"testing"
)

func TestTrims_RememberTheNewest(t *testing.T) {
	t.Parallel()
	var remembered trims
	for _, step := range []struct{ counted, swept, storage, want, wantSwept int64 }{
		{counted: 4, swept: 0, storage: 1, want: 4, wantSwept: 0},
		{counted: 20, swept: 10, storage: 1, want: 20, wantSwept: 10},
		{counted: 18, swept: 8, storage: 1, want: 20, wantSwept: 10},    // the answer to a slower publisher
		{counted: 10, swept: 3, storage: 1, want: 10, wantSwept: 3},     // ids were set back
		{counted: 12, swept: 4, storage: 2, want: 12, wantSwept: 4},     // another sequence
		{counted: 11, swept: 2, storage: 2, want: 12, wantSwept: 4},     // slower
		{counted: 0, swept: 0, storage: 0, want: 12, wantSwept: 4},      // no trim
		{counted: 900, swept: 30, storage: 1, want: 900, wantSwept: 30}, // an answer from before: the next one corrects it
	} {
		remembered.note("/a", findings{tally{counted: step.counted}, step.swept, step.storage})
		if got := remembered.last("/a"); got.counted != step.want || got.swept != step.wantSwept {
			t.Errorf("after %+v: %+v", step, got)
		}
	}
	if got := remembered.last("/b"); got.tally != (tally{}) || got.swept != 30 {
		t.Errorf("another channel: %+v, want no tally, and what is swept", got)
	}
}

func TestTrims_RememberNotMoreThanTheyMay(t *testing.T) {
	t.Parallel()
	var remembered trims
	for i := range int64(3 * mostTallies) {
		channel := fmt.Sprint("/", i)
		remembered.note(channel, findings{tally: tally{counted: i + 1}, storage: 1})
		if len(remembered.tallies) > mostTallies {
			t.Fatalf("%d tallies are remembered, want %d at most", len(remembered.tallies), mostTallies)
		}
		if got := remembered.last(channel); got.counted != i+1 {
			t.Fatalf("of the last of %d channels it remembers %+v", i, got)
		}
	}
}
