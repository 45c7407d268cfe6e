package main

import (
	"encoding/json"
	"testing"

	"github.com/messagebus-go/messagebus/cache"
)

func TestLineOfChange_HasTheMembersOfItsOperation(t *testing.T) {
	t.Parallel()
	type change = cache.Change[cache.AnyKey, json.RawMessage]
	for want, c := range map[string]change{
		`{"op":"set","key":null,"value":1.0,"origin":"o","id":1}`: {Op: cache.OpSet, Value: json.RawMessage("1.0"), Origin: "o", ID: 1},
		`{"op":"delete","key":"ann","origin":"o","id":2}`:         {Op: cache.OpDelete, Key: cache.StringKey("ann"), Origin: "o", ID: 2},
		`{"op":"clear","origin":"o","id":3}`:                      {Op: cache.OpClear, Origin: "o", ID: 3},
		`{"op":"drop"}`:                                           {Op: cache.OpDrop},
	} {
		got, err := json.Marshal(lineOfChange(c))
		if err != nil || string(got) != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
}
