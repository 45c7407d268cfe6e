package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"time"
)

//go:embed page
var pageFiles embed.FS

// contentTypes are those of the files of the page. Named here, since what a
// system's table says differs from machine to machine.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// asset serves a file of the page, which says nothing about this server and so is
// for everybody.
func asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	contentType, known := contentTypes[path.Ext(name)]
	content, err := pageFiles.ReadFile("page/" + name)
	if err != nil || !known {
		http.NotFound(w, r)
		return
	}
	sum := sha256.Sum256(content)
	h := w.Header()
	h.Set("Content-Type", contentType)
	// Asked for again at each load, and answered by 304: a new build shows at once.
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", `"`+hex.EncodeToString(sum[:12])+`"`)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
}
