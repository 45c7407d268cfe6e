package identity

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

func TestPattern_MatchesAsTheExpressionItStandsFor(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	word := func(letters string, most int) string {
		var b strings.Builder
		for range random.IntN(most) {
			b.WriteByte(letters[random.IntN(len(letters))])
		}
		return b.String()
	}
	matched := 0
	for range 20000 {
		pattern, channel := "/"+word("ab/**", 7), "/"+word("ab/", 9)
		expression := regexp.MustCompile(`^` + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`) + `$`)
		want := expression.MatchString(channel)
		if want {
			matched++
		}
		if got := Pattern(pattern).Match(channel); got != want {
			t.Fatalf("%q matches %q: %v, want %v", pattern, channel, got, want)
		}
	}
	if matched < 100 {
		t.Errorf("only %d of the cases match", matched)
	}
}

func TestRules_DenyWins(t *testing.T) {
	t.Parallel()
	rules := Rules{Allow: Patterns{"/a/*", "/b"}, Deny: Patterns{"*/secret"}}
	for channel, want := range map[string]bool{"/a/x": true, "/a/secret": false, "/b": true, "/b/": false, "/c": false, "/a": false} {
		if rules.Permit(channel) != want {
			t.Errorf("%s: %v", channel, !want)
		}
	}
	if !(Rules{}).Permit("/x") || (Rules{Deny: Patterns{"*"}}).Permit("/x") {
		t.Error("no rules allow all, * denies all")
	}
}
