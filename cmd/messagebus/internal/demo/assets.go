package demo

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed page
var pageFiles embed.FS

// contentTypes are those of the files that the page consists of. Named here,
// since what a system's table says differs from machine to machine.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// assets are the files of the page by name, which never change while it runs.
type assets map[string]asset

type asset struct {
	content     []byte
	contentType string
	tag         string
}

func loadAssets() (assets, error) {
	entries, err := pageFiles.ReadDir("page")
	if err != nil {
		return nil, err
	}
	files := make(assets, len(entries))
	for _, entry := range entries {
		content, err := fs.ReadFile(pageFiles, path.Join("page", entry.Name()))
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(content)
		files[entry.Name()] = asset{
			content:     content,
			contentType: contentTypes[path.Ext(entry.Name())],
			tag:         `"` + hex.EncodeToString(sum[:12]) + `"`,
		}
	}
	return files, nil
}

// ServeHTTP serves the file that the pattern's {name} names.
func (a assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.serve(w, r, r.PathValue("name"))
}

// page serves one file whatever the path.
func (a assets) page(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, name) })
}

func (a assets) serve(w http.ResponseWriter, r *http.Request, name string) {
	file, ok := a[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", file.contentType)
	// Asked for again at each load, and answered by 304: a new build shows at once.
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", file.tag)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(file.content))
}
