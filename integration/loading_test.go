package integration_test

import (
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/integration/browser"
)

// Ways in which pages load the client. Each page hears a message that was there and
// one that comes.
func TestLoading_ThePageHearsMessages(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	for _, page := range []string{
		"strict/dropin.html", "strict/module.html?auto", "strict/module.html?poll", "strict/module.html?sse", "strict/module.html?ws",
		"strict/module.html?shared", "strict/module.html?worker",
		"loaders/amd.html", "loaders/commonjs.html", "loaders/jquery.html", "loaders/no-conflict.html",
	} {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			s := startSite(t)
			w := b.Open(t, strings.NewReplacer("/", "-", "?", "-").Replace(page), browser.Options{})
			for number, heard := range []string{"[1]", "[1,2]"} {
				if _, err := s.bus.Publish(t.Context(), "/numbers", number+1); err != nil {
					t.Fatal(err)
				}
				if number == 0 {
					w.Visit("http://" + s.proxy.Address() + "/" + page)
				}
				w.WaitFor("JSON.stringify(globalThis.received) === " + quote(heard))
			}
			if strings.HasPrefix(page, "loaders/") && !browser.Eval[bool](w, "isGlobal") {
				t.Error("the global name is not what it should be")
			}
			checkProblems(t, w)
		})
	}
}

// The policy is in force, and its violations are seen.
func TestLoading_TheStrictPolicyForbidsWhatItSays(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	w := browser.Start(t).Open(t, "forbidden", browser.Options{})
	w.Visit("http://" + s.proxy.Address() + "/strict/forbidden.html")
	w.WaitFor("globalThis.refused === 'EvalError'")
	if browser.Eval[bool](w, "globalThis.inline === true || globalThis.evaluated === true") {
		t.Error("the page has run what it must not")
	}
	if len(w.Problems()) == 0 {
		t.Error("nothing is known of the script that was not run")
	}
}
