package rubycompat_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"strconv"
	"strings"
)

// A matcher is an expectation that is not one value; an empty answer: it is met.
type matcher struct {
	count int // how many items it waits for, where that is known
	check func(got any) string
}

// difference says how got differs from a recorded value; empty: it does not.
// Numbers compare by value, and members in any order, as data travel as they were
// written.
func difference(want, got any) string {
	switch want := want.(type) {
	case matcher:
		return want.check(got)
	case object:
		got, ok := got.(object)
		if !ok {
			return differ(want, got)
		}
		return differenceOfObjects(want, got)
	case []any:
		got, ok := got.([]any)
		if !ok || len(want) != len(got) {
			return differ(want, got)
		}
		for i := range want {
			if d := difference(want[i], got[i]); d != "" {
				return fmt.Sprintf("[%d]: %s", i, d)
			}
		}
		return ""
	case longText:
		return differenceOfLong(want, got)
	case string:
		if s, ok := got.(string); ok && fillIn(want) == s {
			return ""
		}
		return differ(want, got)
	default:
		if sameNumber(want, got) || want == got {
			return ""
		}
		return differ(want, got)
	}
}

func differenceOfObjects(want, got object) string {
	for name := range got {
		if _, ok := want[name]; !ok {
			return fmt.Sprintf("%s is %s, and was not recorded", name, show(got[name]))
		}
	}
	for name := range want {
		is, ok := got[name]
		if !ok {
			return fmt.Sprintf("%s is missing, want %s", name, show(want[name]))
		}
		if d := difference(want[name], is); d != "" {
			return fmt.Sprintf("%s: %s", name, d)
		}
	}
	return ""
}

func differenceOfLong(want longText, got any) string {
	s, ok := got.(string)
	sum := sha256.Sum256([]byte(s))
	if ok && len(s) == want.bytes && hex.EncodeToString(sum[:]) == want.sha256 {
		return ""
	}
	return fmt.Sprintf("%s, want %d bytes, %s…%s", show(got), want.bytes, want.starts, want.ends)
}

// fillIn puts in what varies.
func fillIn(s string) string { return strings.ReplaceAll(s, "<pid>", strconv.Itoa(os.Getpid())) }

func sameNumber(want, got any) bool {
	a, ok1 := rational(want)
	b, ok2 := rational(got)
	return ok1 && ok2 && a.Cmp(b) == 0
}

func rational(v any) (*big.Rat, bool) {
	switch v := v.(type) {
	case json.Number:
		if len(v) > 400 {
			return nil, false
		}
		return new(big.Rat).SetString(v.String())
	case float64:
		r := new(big.Rat).SetFloat64(v)
		return r, r != nil
	default:
		return nil, false
	}
}

func differ(want, got any) string { return fmt.Sprintf("%s, want %s", show(got), show(want)) }

// show writes a value for people, and cuts it.
func show(v any) string {
	const most = 700
	text, err := json.Marshal(v)
	if err != nil {
		text = fmt.Append(nil, v)
	}
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(text)
}

// number is an integer as decoded JSON has it.
func number[T int | int64](n T) json.Number { return json.Number(strconv.FormatInt(int64(n), 10)) }
