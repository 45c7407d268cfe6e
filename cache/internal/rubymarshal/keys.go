package rubymarshal

import (
	"errors"
	"math"
	"math/big"
	"slices"
	"strconv"
)

// distinct refuses a hash with two keys that Ruby takes for one: it writes none
// but those that compare by identity, which mean nothing elsewhere.
func (d *decoder) distinct(pairs []Pair) error {
	if len(pairs) < 2 {
		return nil
	}
	seen := make(map[string]struct{}, min(len(pairs), trusted))
	for _, p := range pairs {
		form, err := d.form(nil, p.Key)
		if err != nil {
			return err
		}
		d.budget -= len(form)
		if _, twice := seen[string(form)]; twice {
			return errors.New("a hash with the same key twice")
		}
		seen[string(form)] = struct{}{}
	}
	return nil
}

// form appends a text that two values have in common if Ruby's eql? holds for
// them.
func (d *decoder) form(b []byte, v any) ([]byte, error) {
	if len(b) > d.budget {
		return nil, errors.New("keys that are too large to compare")
	}
	switch v := v.(type) {
	case nil:
		return append(b, '0'), nil
	case bool:
		return append(strconv.AppendBool(b, v), ';'), nil
	case int64:
		return append(strconv.AppendInt(append(b, 'i'), v, 10), ';'), nil
	case *big.Int:
		return append(v.Append(append(b, 'i'), 16), ';'), nil
	case float64:
		return append(strconv.AppendUint(append(b, 'f'), math.Float64bits(v+0), 16), ';'), nil // -0.0 + 0 is 0.0
	case Symbol:
		return append(sized(append(b, ':'), len(v)), v...), nil
	case *String:
		return appendStringForm(b, v), nil
	case *Array:
		return d.listForm(append(b, '['), v.Items)
	case *Set:
		return d.unordered(append(b, 'o'), len(v.Items), func(i int, b []byte) ([]byte, error) { return d.form(b, v.Items[i]) })
	case *Hash:
		return d.unordered(append(b, '{'), len(v.Pairs), func(i int, b []byte) ([]byte, error) {
			return d.listForm(b, []any{v.Pairs[i].Key, v.Pairs[i].Value})
		})
	default:
		return nil, errors.New("a key that cannot be compared")
	}
}

func sized(b []byte, n int) []byte { return append(strconv.AppendInt(b, int64(n), 10), ';') }

// appendStringForm leaves the encoding out where the bytes read the same in all.
func appendStringForm(b []byte, s *String) []byte {
	b = append(b, '"')
	if !isASCII(s.Bytes) {
		b = append(b, s.Encoding...)
	}
	return append(sized(append(b, ';'), len(s.Bytes)), s.Bytes...)
}

func (d *decoder) listForm(b []byte, items []any) ([]byte, error) {
	b = sized(b, len(items))
	for _, v := range items {
		var err error
		if b, err = d.form(b, v); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// unordered appends the forms of members whose order does not count.
func (d *decoder) unordered(b []byte, n int, form func(i int, b []byte) ([]byte, error)) ([]byte, error) {
	forms := make([]string, n)
	for i := range n {
		f, err := form(i, nil)
		if err != nil {
			return nil, err
		}
		d.budget -= len(f)
		forms[i] = string(f)
	}
	slices.Sort(forms)
	b = sized(b, n)
	for _, f := range forms {
		b = append(sized(b, len(f)), f...)
	}
	return b, nil
}
