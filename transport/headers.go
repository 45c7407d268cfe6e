package transport

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// The headers of every answer of ours, in the order in which they are sent.
var standardHeaders = []struct{ name, value string }{
	{"Cache-Control", "must-revalidate, private, max-age=0"},
	{"Pragma", "no-cache"},
	{"Expires", "0"},
}

const (
	jsonType   = "application/json; charset=utf-8"
	streamType = "text/plain; charset=utf-8"
)

// header returns the headers of an answer: what the handlers before have set,
// the standard ones, and the application's.
func (h *Handler) header(w http.ResponseWriter, r *http.Request) (http.Header, error) {
	header := w.Header().Clone()
	if header == nil {
		header = make(http.Header)
	}
	for _, standard := range standardHeaders {
		header.Set(standard.name, standard.value)
	}
	header.Set("Content-Type", jsonType)
	err := errPanic
	h.guard("Options.Header", func() {
		h.options.Header(r, header)
		err = nil
	})
	return header, err
}

// replaceHeader makes header the headers of an answer that net/http writes.
func replaceHeader(w http.ResponseWriter, header http.Header) {
	clear(w.Header())
	maps.Copy(w.Header(), header)
}

// framing reports whether a header is ours to set on a held answer.
func framing(name string) bool {
	switch strings.ToLower(name) {
	case "connection", "content-type", "content-length", "transfer-encoding", "x-content-type-options", "x-accel-buffering", "content-encoding", "keep-alive", "trailer", "upgrade":
		return true
	}
	return false
}

// appendHead appends the head of an answer that we write to the connection
// ourselves, up to and with `connection: close`. The names are in lower case,
// the standard ones first, then the application's by name.
func appendHead(b []byte, header http.Header) []byte {
	b = append(b, "HTTP/1.1 200 OK\r\n"...)
	for _, standard := range standardHeaders {
		b = appendHeader(b, standard.name, header[standard.name])
	}
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if !framing(name) && !isStandard(name) {
			b = appendHeader(b, name, header[name])
		}
	}
	return append(b, "connection: close\r\n"...)
}

func isStandard(name string) bool {
	for _, standard := range standardHeaders {
		if standard.name == name {
			return true
		}
	}
	return false
}

// appendHeader appends one line a value. A name that is none is left out, and
// line breaks in a value become spaces, so that neither can forge a header.
func appendHeader(b []byte, name string, values []string) []byte {
	if name == "" || strings.ContainsFunc(name, notInName) {
		return b
	}
	for _, value := range values {
		b = append(b, strings.ToLower(name)...)
		b = append(b, ": "...)
		b = append(b, lineBreaks.Replace(strings.TrimSpace(value))...)
		b = append(b, "\r\n"...)
	}
	return b
}

var lineBreaks = strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ")

func notInName(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
}
