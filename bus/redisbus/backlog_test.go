package redisbus

import (
	"math"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus/driver"
)

func members(pairs ...any) []redis.Z {
	var all []redis.Z
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, redis.Z{Score: float64(pairs[i].(int)), Member: pairs[i+1]})
	}
	return all
}

func TestInOrder_PutsMembersWithoutGlobalIDsBetweenTheirNeighbours(t *testing.T) {
	t.Parallel()
	type ids [2]int64 // global id, id
	for name, test := range map[string]struct {
		members []redis.Z
		before  int64
		want    []ids
	}{
		"none":                      {nil, 0, nil},
		"in the middle":             {members(4, "10|4|/a|", 5, "garbage", 6, "20|6|/a|"), 0, []ids{{10, 4}, {11, 5}, {20, 6}}},
		"at the end":                {members(4, "10|4|/a|", 5, "garbage", 6, "x"), 0, []ids{{10, 4}, {11, 5}, {12, 6}}},
		"first, anchored":           {members(4, "garbage", 5, "20|5|/a|"), 9, []ids{{10, 4}, {20, 5}}},
		"first, not anchored":       {members(3, "x", 4, "garbage", 5, "20|5|/a|"), 0, []ids{{18, 3}, {19, 4}, {20, 5}}},
		"alone, not anchored":       {members(4, "garbage"), 0, []ids{{30, 4}}},
		"ids 0":                     {members(4, "||/a|x", 5, "20|5|/a|"), 9, []ids{{10, 4}, {20, 5}}},
		"more than ids for them":    {members(1, "x", 2, "y", 3, "2|3|/a|"), 0, []ids{{1, 1}, {2, 2}, {2, 3}}},
		"ids that began again":      {members(1, "1|1|/a|", 1, "6|1|/a|", 2, "2|2|/a|"), 0, []ids{{1, 1}, {2, 2}, {6, 1}}},
		"a tail comes newest first": {members(2, "20|2|/a|", 1, "10|1|/a|"), 0, []ids{{10, 1}, {20, 2}}},
	} {
		got := inOrder(decode("/a", test.members), test.before, driver.State{GlobalID: 30})
		if len(got) != len(test.want) {
			t.Errorf("%s: %d messages, want %d", name, len(got), len(test.want))
			continue
		}
		for i, m := range got {
			if (ids{m.GlobalID, m.ID}) != test.want[i] {
				t.Errorf("%s: message %d has the ids %d, %d; want %v", name, i, m.GlobalID, m.ID, test.want[i])
			}
		}
	}
}

func TestDecode_GivesAMemberThatIsNoMessageAsItIs(t *testing.T) {
	t.Parallel()
	m := decode("/a", members(4, "garbage"))[0]
	if m.Channel != "/a" || m.ID != 4 || string(m.Data) != "garbage" {
		t.Errorf("%+v, want id 4 on /a and the member as the data", m)
	}
}

func TestDecode_CutsScoresThatAreNoIDs(t *testing.T) {
	t.Parallel()
	for score, want := range map[float64]int64{1.9: 1, math.Inf(1): 1 << 53, math.Inf(-1): -1 << 53, 1e300: 1 << 53} {
		if got := asID(score); got != want {
			t.Errorf("score %v: id %d, want %d", score, got, want)
		}
	}
}

func TestLoss_IsAHoleInTheIDs(t *testing.T) {
	t.Parallel()
	const none, certain = driver.LossNone, driver.LossCertain
	for name, test := range map[string]struct {
		ids        []int64
		after      int64
		max        int
		last       int64
		wantedLoss driver.Loss
	}{
		"all":                          {[]int64{1, 2, 3}, 0, 0, 3, none},
		"all after":                    {[]int64{3}, 2, 0, 3, none},
		"nothing after the last":       {nil, 3, 0, 3, none},
		"ahead of the last":            {nil, 5, 0, 3, none},
		"a new channel":                {nil, 0, 0, 0, none},
		"the first are gone":           {[]int64{2, 3}, 0, 0, 3, certain},
		"all are gone":                 {nil, 0, 0, 3, certain},
		"one in the middle is gone":    {[]int64{1, 3}, 0, 0, 3, certain},
		"the last is gone":             {[]int64{1, 2}, 0, 0, 3, certain},
		"the rest was not asked for":   {[]int64{1, 2}, 0, 2, 3, none},
		"less than was asked for":      {[]int64{1}, 0, 2, 3, certain},
		"two with one id":              {[]int64{1, 1, 2}, 0, 0, 2, none},
		"older ones above the last id": {[]int64{1, 2, 3, 4}, 0, 0, 2, none},
		"a negative position":          {[]int64{1}, -5, 0, 1, none},
	} {
		var messages []driver.Message
		for _, id := range test.ids {
			messages = append(messages, driver.Message{ID: id})
		}
		if got := loss(messages, driver.Range{After: test.after, Max: test.max}, test.last); got != test.wantedLoss {
			t.Errorf("%s: loss %d, want %d", name, got, test.wantedLoss)
		}
	}
}

func TestState_ReadsWhatTheServerIs(t *testing.T) {
	t.Parallel()
	const info = "# Replication\r\nrole:slave\r\nmaster_host:127.0.0.1\r\nslave_read_only:1\r\nmaster_replid:c0ffee\r\n"
	got := newState([]any{"e", "12"}, info)
	if want := (driver.State{GlobalID: 12, Settled: 12, Epoch: "e", Timeline: "c0ffee", ReadOnly: true}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := newState([]any{nil, nil}, "role:slave\r\nslave_read_only:0\r\n"); got != (driver.State{}) {
		t.Errorf("a replica that takes writes: %+v, want the zero state", got)
	}
}

func TestParsePointer_ReadsAsTheGemDoes(t *testing.T) {
	t.Parallel()
	for member, want := range map[string]pointer{
		"3|/a":        {9, 3, "/a"},
		"3|/a$|$site": {9, 3, "/a$|$site"},
		"3|":          {9, 3, ""},
		"garbage":     {9, 0, ""},
		"12x|/a|b|/c": {9, 12, "/a|b|/c"},
	} {
		if got := parsePointer(member, 9); got != want {
			t.Errorf("%q: %+v, want %+v", member, got, want)
		}
	}
}
