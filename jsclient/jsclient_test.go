package jsclient_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/jsclient"
)

var names = []string{"index.js", "sse.js", "ws.js", "share.js", "share-worker.js", "message-bus.js"}

func serve(h http.Handler, method, path string, header ...string) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, resp *http.Response) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestHandler_ServesTheBuiltFiles(t *testing.T) {
	t.Parallel()
	for _, name := range names {
		want, err := os.ReadFile("dist/" + name)
		if err != nil {
			t.Fatal(err)
		}
		resp := serve(jsclient.Handler(), http.MethodGet, "/"+name)
		if resp.StatusCode != http.StatusOK || !bytes.Equal(body(t, resp), want) {
			t.Errorf("%s: status %d, or not the file in dist", name, resp.StatusCode)
		}
		for key, value := range map[string]string{
			"Content-Type":           "text/javascript; charset=utf-8",
			"Cache-Control":          "public, no-cache",
			"X-Content-Type-Options": "nosniff",
		} {
			if got := resp.Header.Get(key); got != value {
				t.Errorf("%s: %s is %q, want %q", name, key, got, value)
			}
		}
	}
}

func TestHandler_ServesBelowAPrefixWithOrWithoutItsSlash(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"/assets", "/assets/"} {
		h := http.StripPrefix(prefix, jsclient.Handler())
		if resp := serve(h, http.MethodGet, "/assets/index.js"); resp.StatusCode != http.StatusOK {
			t.Errorf("prefix %s: status %d, want 200", prefix, resp.StatusCode)
		}
	}
}

func TestHandler_AnswersNotModifiedToTheSameETag(t *testing.T) {
	t.Parallel()
	etags := map[string]bool{}
	for _, name := range names {
		etag := serve(jsclient.Handler(), http.MethodGet, "/"+name).Header.Get("ETag")
		if len(etag) != 34 || etags[etag] {
			t.Errorf("%s: ETag %q is not a quoted hash of its own", name, etag)
		}
		etags[etag] = true
		resp := serve(jsclient.Handler(), http.MethodGet, "/"+name, "If-None-Match", etag)
		if resp.StatusCode != http.StatusNotModified || len(body(t, resp)) != 0 {
			t.Errorf("%s: status %d to its own ETag, want 304 without a body", name, resp.StatusCode)
		}
		resp = serve(jsclient.Handler(), http.MethodGet, "/"+name, "If-None-Match", `"other"`)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d to another ETag, want 200", name, resp.StatusCode)
		}
	}
}

func TestHandler_AnswersHeadWithoutABody(t *testing.T) {
	t.Parallel()
	get := serve(jsclient.Handler(), http.MethodGet, "/index.js")
	head := serve(jsclient.Handler(), http.MethodHead, "/index.js")
	if head.StatusCode != http.StatusOK || len(body(t, head)) != 0 {
		t.Errorf("HEAD: status %d, want 200 without a body", head.StatusCode)
	}
	for _, key := range []string{"Content-Length", "Content-Type", "ETag"} {
		if got, want := head.Header.Get(key), get.Header.Get(key); got == "" || got != want {
			t.Errorf("HEAD: %s is %q, GET's is %q", key, got, want)
		}
	}
}

func TestHandler_AnswersNotFoundToAnythingElse(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/", "/dist/index.js", "/index.d.ts", "/index.js/", "//index.js", "/../jsclient.go"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if resp := serve(jsclient.Handler(), method, path); resp.StatusCode != http.StatusNotFound {
				t.Errorf("%s %s: status %d, want 404", method, path, resp.StatusCode)
			}
		}
	}
}

func TestHandler_RefusesOtherMethods(t *testing.T) {
	t.Parallel()
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		resp := serve(jsclient.Handler(), method, "/index.js")
		if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: status %d, Allow %q", method, resp.StatusCode, resp.Header.Get("Allow"))
		}
	}
}

func TestHandler_ServesADropInThatSetsItsGlobal(t *testing.T) {
	t.Parallel()
	script := string(body(t, serve(jsclient.Handler(), http.MethodGet, "/message-bus.js")))
	if !strings.Contains(script, ".MessageBus=") {
		t.Error("the plain script does not set MessageBus")
	}
}
