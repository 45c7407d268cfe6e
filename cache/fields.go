package cache

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
)

// field is one member that encoding/json would write of a struct.
type field struct {
	name                string
	index               []int
	tagged              bool
	omitEmpty, omitZero bool
	quoted              bool
}

// fields returns the members of a struct type, in order.
func (ss *structs) fields(t reflect.Type) []field {
	if known, ok := ss.known.Load(t); ok {
		list, _ := known.([]field)
		return list
	}
	list := dominant(collect(t, nil, map[reflect.Type]bool{}))
	ss.known.Store(t, list)
	return list
}

// collect lists all candidates, those of embedded structs included.
func collect(t reflect.Type, index []int, visiting map[reflect.Type]bool) (all []field) {
	if visiting[t] {
		return nil
	}
	visiting[t] = true
	defer delete(visiting, t)
	for i := range t.NumField() {
		sf := t.Field(i)
		at := append(slices.Clone(index), i)
		tag := sf.Tag.Get("json")
		f := newField(sf.Name, tag, at)
		embedded := sf.Type
		if embedded.Kind() == reflect.Pointer {
			embedded = embedded.Elem()
		}
		switch {
		case tag == "-":
		case sf.Anonymous && !f.tagged && embedded.Kind() == reflect.Struct:
			all = append(all, collect(embedded, at, visiting)...)
		case sf.IsExported():
			all = append(all, f)
		}
	}
	return all
}

func newField(name, tag string, index []int) field {
	first, options, _ := strings.Cut(tag, ",")
	f := field{name: name, index: index, tagged: first != ""}
	if f.tagged {
		f.name = first
	}
	for option := range strings.SplitSeq(options, ",") {
		switch option {
		case "omitempty":
			f.omitEmpty = true
		case "omitzero":
			f.omitZero = true
		case "string":
			f.quoted = true
		}
	}
	return f
}

// dominant leaves one field of each name: the least deep, and of several such
// the one with a tag; none where that does not decide.
func dominant(all []field) []field {
	byName := map[string][]field{}
	for _, f := range all {
		byName[f.name] = append(byName[f.name], f)
	}
	return slices.DeleteFunc(all, func(f field) bool {
		rivals := slices.Clone(byName[f.name])
		slices.SortStableFunc(rivals, compareFields)
		if len(rivals) > 1 && compareFields(rivals[0], rivals[1]) == 0 {
			return true
		}
		return !slices.Equal(rivals[0].index, f.index)
	})
}

func compareFields(a, b field) int {
	if d := cmp.Compare(len(a.index), len(b.index)); d != 0 || a.tagged == b.tagged {
		return d
	}
	if a.tagged {
		return -1
	}
	return 1
}

// omit reports whether a value is left out.
func (f field) omit(v reflect.Value) bool {
	if f.omitZero && isZero(v) {
		return true
	}
	if !f.omitEmpty {
		return false
	}
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	default:
		return v.IsZero()
	}
}

func isZero(v reflect.Value) bool {
	if z, ok := reflect.TypeAssert[interface{ IsZero() bool }](v); ok && (v.Kind() != reflect.Pointer || !v.IsNil()) {
		return z.IsZero()
	}
	return v.IsZero()
}
