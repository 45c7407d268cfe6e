// Package jsclient serves the browser client from a Go program, without a
// copy of its files and without a package manager:
//
//	mux.Handle("/assets/", http.StripPrefix("/assets/", jsclient.Handler()))
//
// A page then imports the module, or loads the drop-in for the gem's script,
// which sets the global MessageBus:
//
//	<script type="module">import { createClient } from "/assets/index.js"</script>
//	<script src="/assets/message-bus.js"></script>
package jsclient

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

//go:embed dist/*.js
var dist embed.FS

// file is one script, ready to be served.
type file struct {
	content []byte
	etag    string
}

// Handler serves the scripts at the root of its path: index.js, the ES module,
// with sse.js, ws.js, share.js and share-worker.js, which it loads when it needs
// them; and message-bus.js, the drop-in. It answers GET and HEAD, with conditions
// and ranges; 405 to other methods and 404 to other paths.
//
// Browsers keep the files but ask each time whether they are current: the
// names stay the same from one version to the next, and a page must not run an
// older client than its server.
func Handler() http.Handler {
	files := map[string]file{}
	for _, name := range []string{"index.js", "sse.js", "ws.js", "share.js", "share-worker.js", "message-bus.js"} {
		files[name] = load(name)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// http.StripPrefix leaves the slash or takes it, as its user wrote it.
		f, ok := files[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		f.serve(w, r)
	})
}

func load(name string) file {
	content, err := dist.ReadFile("dist/" + name)
	if err != nil {
		// The compiler has put it there.
		panic(err) //nolint:forbidigo // it cannot happen
	}
	sum := sha256.Sum256(content)
	return file{content: content, etag: `"` + hex.EncodeToString(sum[:16]) + `"`}
}

func (f file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "public, no-cache")
	h.Set("ETag", f.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
}
