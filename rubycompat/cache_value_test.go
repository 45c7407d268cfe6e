package rubycompat_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"unicode/utf8"

	"github.com/messagebus-go/messagebus/cache"
)

// described is how golden/cache.json writes a Ruby value down; golden/README-cache.md
// explains it.
type described struct {
	Type       string                     `json:"type"`
	Value      json.RawMessage            `json:"value"`
	Encoding   string                     `json:"encoding"`
	Text       *string                    `json:"text"`
	Base64     []byte                     `json:"base64"`
	UTF8       *string                    `json:"utf8"`
	Items      []described                `json:"items"`
	Pairs      [][2]described             `json:"pairs"`
	Default    *described                 `json:"default"`
	Depth      int                        `json:"depth"`
	ID         int                        `json:"id"`
	IVars      map[string]json.RawMessage `json:"ivars"`
	Class      *string                    `json:"class"`
	ByIdentity bool                       `json:"by_identity"`
}

// A goValue is what Go makes of a described value: symbols become strings, sets
// arrays, the keys of hashes strings, and the default of a hash is left out. why
// says what has no form in Go.
type goValue struct {
	value any
	why   string
	exact bool // Go can send it: none of the above happened
}

type reader map[int]any // values that are referred to

func (d described) inGo() goValue {
	g := goValue{exact: true}
	g.value = reader{}.read(d, &g)
	return g
}

func (r reader) read(d described, g *goValue) any {
	if d.IVars != nil || d.Class != nil || d.ByIdentity || d.Type == "other" {
		g.why = "more than plain data"
		return nil
	}
	v := r.plain(d, g)
	if d.ID != 0 {
		r[d.ID] = v
	}
	return v
}

func (r reader) plain(d described, g *goValue) any {
	switch d.Type {
	case "nil":
		return nil
	case "bool":
		return string(d.Value) == "true"
	case "int":
		return integerOf(d.text())
	case "float":
		f, _ := strconv.ParseFloat(d.text(), 64)
		return f
	case "symbol":
		g.exact = false
		return *d.Text
	case "string":
		return d.string(g)
	case "set":
		g.exact = false
		return r.items(d.Items, g)
	case "array":
		return r.items(d.Items, g)
	case "nested_array":
		return nested(d.Depth)
	case "hash":
		return r.hash(d, g)
	case "ref":
		if _, known := r[d.ID]; !known {
			g.why = "a value that holds itself"
		}
		return r[d.ID]
	default:
		g.why = "the type " + d.Type
		return nil
	}
}

func (d described) text() string {
	var s string
	_ = json.Unmarshal(d.Value, &s) // it always is a string
	return s
}

func integerOf(text string) any {
	n, _ := new(big.Int).SetString(text, 10)
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

func (d described) string(g *goValue) any {
	if d.Encoding != "UTF-8" {
		g.exact = false
	}
	switch {
	case d.Text != nil:
		return *d.Text
	case d.Encoding == "Shift_JIS":
		g.why = "an encoding that needs tables"
		return nil
	case d.UTF8 != nil:
		return *d.UTF8
	}
	if !utf8.Valid(d.Base64) {
		g.why = "bytes that are no text"
	}
	return string(d.Base64)
}

func (r reader) items(items []described, g *goValue) any {
	list := make([]any, len(items))
	for i, item := range items {
		list[i] = r.read(item, g)
	}
	return list
}

func (r reader) hash(d described, g *goValue) any {
	m := make(map[string]any, len(d.Pairs))
	if d.Default != nil {
		g.exact = false
	}
	for _, p := range d.Pairs {
		key := r.read(p[0], g)
		if _, isString := key.(string); !isString || p[0].Type == "symbol" || len(d.Pairs) > 1 {
			g.exact = false // the order counts as well
		}
		name := fmt.Sprint(key)
		if _, isInt := key.(int64); !isInt && p[0].Type != "string" && p[0].Type != "symbol" && p[0].Type != "int" {
			g.why = "a key that is no string, symbol or integer"
		}
		if _, twice := m[name]; twice {
			g.why = "keys that differ in type alone"
		}
		m[name] = r.read(p[1], g)
	}
	return m
}

// key is a described key as a cache has it.
func (d described) key() (cache.AnyKey, error) {
	g := d.inGo()
	text, err := json.Marshal(g.value)
	if err != nil {
		return cache.AnyKey{}, err
	}
	if d.Type == "float" {
		text = []byte(d.text())
	}
	return cache.ParseKey(text)
}
