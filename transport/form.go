package transport

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// formField takes one field of a form. found: it has a value.
type formField func(name, value string, found bool) error

// readParams reads the fields of a body, if its content type is that of a form.
func readParams(method, contentType string, body []byte, take formField) error {
	mediaType, _, _ := strings.Cut(contentType, ";")
	mediaType = strings.ToLower(strings.TrimSpace(mediaType))
	switch {
	case mediaType == "application/x-www-form-urlencoded", mediaType == "" && method == http.MethodPost:
		return readForm(string(body), take)
	case strings.HasPrefix(mediaType, "multipart/"):
		return readMultipart(contentType, body, take)
	}
	return nil
}

// readForm reads fields that are joined by ampersands.
func readForm(form string, take formField) error {
	for form != "" {
		var pair string
		pair, form, _ = strings.Cut(form, "&")
		pair = strings.TrimLeft(pair, " ")
		if pair == "" {
			continue
		}
		key, value, found := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(key)
		if err == nil {
			value, err = url.QueryUnescape(value)
		}
		if err != nil {
			return badRequest("the form has a %% that is no escape: %v", err)
		}
		if err := takeField(name, value, found, take); err != nil {
			return err
		}
	}
	return nil
}

func takeField(name, value string, found bool, take formField) error {
	if !utf8.ValidString(name) || !utf8.ValidString(value) {
		return badRequest("the form field %.100q is not valid UTF-8", name)
	}
	return take(name, value, found)
}

func readMultipart(contentType string, body []byte, take formField) error {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["boundary"] == "" {
		return badRequest("a multipart body without a boundary in its content type")
	}
	reader := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for {
		part, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return badRequest("the multipart body cannot be read: %v", err)
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return badRequest("the multipart body cannot be read: %v", err)
		}
		if part.FileName() != "" {
			return badRequest("the form field %.100q is a file", part.FormName())
		}
		if err := takeField(part.FormName(), string(value), true, take); err != nil {
			return err
		}
	}
}

// A tree is the fields of a form whose names nest by brackets: a[b]=1 and
// a[]=1, as Rack reads them. Its values are strings, nil, []any and tree.
type tree map[string]any

// maxNesting is how deep brackets may nest (Rack's default is 32).
const maxNesting = 32

// add takes one field.
func (t tree) add(name, value string, found bool) error {
	key, rest, nested := strings.Cut(name, "[")
	if nested {
		rest = "[" + rest
	}
	var leaf any
	if found {
		leaf = value
	}
	if strings.Count(rest, "[") > maxNesting {
		return badRequest("the form field %.100q nests deeper than %d", name, maxNesting)
	}
	if !t.put(key, rest, leaf) {
		return badRequest("the form field %.100q is both a value and something nested", name)
	}
	return nil
}

// put puts leaf below key, on the path of brackets; false: what is there is of
// another kind.
func (t tree) put(key, path string, leaf any) bool {
	if key == "" {
		return true // a field without a name is none
	}
	switch {
	case path == "":
		t[key] = leaf
		return true
	case strings.HasPrefix(path, "[]"):
		list, ok := t[key].([]any)
		if t[key] != nil && !ok {
			return false
		}
		list, ok = appendTo(list, path[len("[]"):], leaf)
		t[key] = list
		return ok
	default:
		below, ok := t[key].(tree)
		if t[key] != nil && !ok {
			return false
		}
		if below == nil {
			below = make(tree)
			t[key] = below
		}
		next, rest := firstBracket(path)
		return below.put(next, rest, leaf)
	}
}

// appendTo appends to a list: leaf itself, or an object. Of the fields of
// objects in a list, those that the last object does not have yet go into it.
func appendTo(list []any, path string, leaf any) ([]any, bool) {
	if path == "" {
		return append(list, leaf), true
	}
	next, rest := firstBracket(path)
	if len(list) > 0 {
		if last, ok := list[len(list)-1].(tree); ok {
			if _, taken := last[next]; !taken || strings.HasPrefix(rest, "[") {
				return list, last.put(next, rest, leaf)
			}
		}
	}
	object := make(tree)
	ok := object.put(next, rest, leaf)
	return append(list, object), ok
}

// firstBracket splits [a][b] into a and [b].
func firstBracket(path string) (name, rest string) {
	name, rest, closed := strings.Cut(strings.TrimPrefix(path, "["), "]")
	if !closed {
		return name, ""
	}
	if rest != "" && rest[0] != '[' {
		return name, "" // what follows a bracket counts for nothing
	}
	return name, rest
}
