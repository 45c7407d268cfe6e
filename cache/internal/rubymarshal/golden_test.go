package rubymarshal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"os"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/messagebus-go/messagebus/cache/internal/rubymarshal"
)

// A goldenCase is a blob that Ruby wrote, or one that was made by hand, and what
// Ruby reads it as.
type goldenCase struct {
	Name      string    `json:"name"`
	Refuse    bool      `json:"refuse"`     // must be an error
	MayRefuse bool      `json:"may_refuse"` // an error, or what is described
	Describe  described `json:"describe"`
	Blob      []byte    `json:"marshal_base64"`
	Repeat    *struct {
		Prefix []byte `json:"prefix_base64"`
		Unit   []byte `json:"unit_base64"`
		Times  int    `json:"times"`
		Suffix []byte `json:"suffix_base64"`
	} `json:"marshal_repeat"`
}

// described is how the recording writes a value down.
type described struct {
	Type       string          `json:"type"`
	Value      json.RawMessage `json:"value"`
	Bits       string          `json:"bits"`
	Encoding   string          `json:"encoding"`
	Text       *string         `json:"text"`
	Base64     []byte          `json:"base64"`
	UTF8       *string         `json:"utf8"`
	Items      []described     `json:"items"`
	Pairs      [][2]described  `json:"pairs"`
	Default    *described      `json:"default"`
	ID         int             `json:"id"`
	IVars      json.RawMessage `json:"ivars"`
	Class      string          `json:"class"`
	ByIdentity bool            `json:"by_identity"`
}

func (c goldenCase) blob() []byte {
	if c.Repeat == nil {
		return c.Blob
	}
	return bytes.Join([][]byte{c.Repeat.Prefix, bytes.Repeat(c.Repeat.Unit, c.Repeat.Times), c.Repeat.Suffix}, nil)
}

func golden(tb testing.TB) []goldenCase {
	tb.Helper()
	text, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		tb.Fatal(err)
	}
	var recording struct {
		Cases []goldenCase `json:"cases"`
	}
	if err := json.Unmarshal(text, &recording); err != nil {
		tb.Fatal(err)
	}
	if len(recording.Cases) == 0 {
		tb.Fatal("no cases")
	}
	return recording.Cases
}

func TestDecode_ReadsWhatRubyWrote(t *testing.T) {
	t.Parallel()
	for _, c := range golden(t) {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			blob := c.blob()
			if len(blob) == 0 && !c.Refuse {
				t.Fatal("there is no blob")
			}
			v, err := rubymarshal.Decode(blob)
			switch {
			case c.Refuse && err == nil:
				t.Fatalf("it was read as %#v; it must be refused", v)
			case c.Refuse || c.MayRefuse && err != nil:
				return
			case err != nil:
				t.Fatal(err)
			}
			if wrong := (matcher{}).compare(v, c.Describe); wrong != "" {
				t.Fatal(wrong)
			}
			againReads(t, v, c.Describe)
		})
	}
}

// againReads writes v, and reads what was written.
func againReads(t *testing.T, v any, want described) {
	t.Helper()
	blob, err := rubymarshal.Encode(v)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	again, err := rubymarshal.Decode(blob)
	if err != nil {
		t.Fatalf("what was encoded is not read: %v\n%q", err, blob)
	}
	if wrong := (matcher{}).compare(again, want); wrong != "" {
		t.Fatalf("what was encoded reads differently: %s", wrong)
	}
}

// TestEncode_WritesRubysBytes leaves out floats, whose digits Ruby chooses in its
// own way, and large integers and floats that Ruby happened to share.
func TestEncode_WritesRubysBytes(t *testing.T) {
	t.Parallel()
	same := 0
	for _, c := range golden(t) {
		if c.Refuse || c.MayRefuse || bytes.ContainsAny(c.blob(), "fl") {
			continue
		}
		v, err := rubymarshal.Decode(c.blob())
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		blob, err := rubymarshal.Encode(v)
		switch {
		case err != nil:
			t.Errorf("%s: %v", c.Name, err)
		case c.Name == "bytes-set-plain-hash": // what older Rubies write
		case !bytes.Equal(blob, c.blob()):
			t.Errorf("%s: %q, want %q", c.Name, blob, c.blob())
		default:
			same++
		}
	}
	if same < 40 {
		t.Errorf("only %d cases were compared", same)
	}
}

// matcher knows the values that a description refers to again.
type matcher map[int]any

// compare returns how a value differs from its description; empty: it does not.
func (m matcher) compare(v any, want described) string {
	if want.IVars != nil || want.Class != "" || want.ByIdentity {
		return "a value with more than plain data was read"
	}
	if want.Type == "ref" {
		if m[want.ID] != v {
			return fmt.Sprintf("%#v is not the value %d again", v, want.ID)
		}
		return ""
	}
	if want.ID != 0 {
		m[want.ID] = v
	}
	switch v := v.(type) {
	case nil:
		return unless(want.Type == "nil", v, want)
	case bool:
		return unless(want.Type == "bool" && string(want.Value) == strconv.FormatBool(v), v, want)
	case int64, *big.Int:
		return unless(want.Type == "int" && string(want.Value) == strconv.Quote(fmt.Sprint(v)), v, want)
	case float64:
		same := fmt.Sprintf("%016x", math.Float64bits(v)) == want.Bits || math.IsNaN(v) && string(want.Value) == `"NaN"`
		return unless(want.Type == "float" && same, v, want)
	case rubymarshal.Symbol:
		return unless(want.Type == "symbol" && want.Text != nil && *want.Text == string(v), v, want)
	case *rubymarshal.String:
		return m.compareString(v, want)
	case *rubymarshal.Array:
		return m.compareItems("array", v.Items, want)
	case *rubymarshal.Set:
		return m.compareItems("set", v.Items, want)
	case *rubymarshal.Hash:
		return m.compareHash(v, want)
	default:
		return fmt.Sprintf("%#v is of no known type", v)
	}
}

func unless(ok bool, v any, want described) string {
	if ok {
		return ""
	}
	return fmt.Sprintf("%#v, want %+v", v, want)
}

func (m matcher) compareString(s *rubymarshal.String, want described) string {
	raw := want.Base64
	if want.Text != nil {
		raw = []byte(*want.Text)
	}
	if wrong := unless(want.Type == "string" && s.Encoding == want.Encoding && bytes.Equal(s.Bytes, raw), s, want); wrong != "" {
		return wrong
	}
	text, err := s.Text()
	switch {
	case want.Text != nil:
		return unless(text == *want.Text, text, want)
	case want.UTF8 != nil && want.Encoding != "Shift_JIS":
		return unless(text == *want.UTF8, text, want)
	case want.UTF8 == nil && s.Encoding != rubymarshal.Binary || want.Encoding == "Shift_JIS":
		return unless(err != nil, text, want)
	}
	return unless((err == nil) == utf8.Valid(s.Bytes), text, want)
}

func (m matcher) compareItems(kind string, items []any, want described) string {
	if want.Type == "nested_array" {
		return ""
	}
	if want.Type != kind || len(items) != len(want.Items) {
		return unless(false, items, want)
	}
	for i, v := range items {
		if wrong := m.compare(v, want.Items[i]); wrong != "" {
			return fmt.Sprintf("item %d: %s", i, wrong)
		}
	}
	return ""
}

func (m matcher) compareHash(h *rubymarshal.Hash, want described) string {
	if want.Type != "hash" || len(h.Pairs) != len(want.Pairs) {
		return unless(false, h, want)
	}
	for i, p := range h.Pairs {
		if wrong := m.compare(p.Key, want.Pairs[i][0]) + m.compare(p.Value, want.Pairs[i][1]); wrong != "" {
			return fmt.Sprintf("pair %d: %s", i, wrong)
		}
	}
	if want.Default == nil {
		return unless(h.Default == nil, h.Default, want)
	}
	return m.compare(h.Default, *want.Default)
}

// FuzzDecode reads anything: it must not fail in other ways than by an error, and
// what it reads must come back when it is written and read again.
func FuzzDecode(f *testing.F) {
	for _, c := range golden(f) {
		if blob := c.blob(); len(blob) < 4096 {
			f.Add(blob)
		}
	}
	f.Fuzz(func(t *testing.T, blob []byte) {
		v, err := rubymarshal.Decode(blob)
		if err != nil {
			return
		}
		written, err := rubymarshal.Encode(v)
		if err != nil {
			t.Fatalf("%q reads as %#v, which cannot be written: %v", blob, v, err)
		}
		again, err := rubymarshal.Decode(written)
		if err != nil {
			t.Fatalf("%q is written as %q, which cannot be read: %v", blob, written, err)
		}
		rewritten, err := rubymarshal.Encode(again)
		if err != nil || !bytes.Equal(written, rewritten) {
			t.Fatalf("%q is written as %q and then as %q (%v)", blob, written, rewritten, err)
		}
	})
}

// TestDecode_AllocatesInProportion reads blobs that claim far more than they hold.
func TestDecode_AllocatesInProportion(t *testing.T) {
	for _, c := range golden(t) {
		blob := c.blob()
		used := allocated(func() { _, _ = rubymarshal.Decode(blob) })
		if limit := uint64(64<<10 + 512*len(blob)); used > limit {
			t.Errorf("%s: %d bytes were allocated for a blob of %d", c.Name, used, len(blob))
		}
	}
	nested := []byte("\x04\x08")
	for range 200 {
		nested = append(nested, "[\x03\x40\x0d\x03"...) // 200,000 members each
	}
	nested = append(nested, bytes.Repeat([]byte("0"), 200_000)...)
	if used := allocated(func() { _, _ = rubymarshal.Decode(nested) }); used > 64<<20 {
		t.Errorf("%d bytes were allocated for arrays that each claim all of %d bytes", used, len(nested))
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestEncode_RefusesWhatRubyHasNot(t *testing.T) {
	t.Parallel()
	deep := &rubymarshal.Array{}
	for range 300 {
		deep = &rubymarshal.Array{Items: []any{deep}}
	}
	for _, v := range []any{
		1, "x", struct{}{}, map[string]int{}, deep, big.NewInt(5),
		rubymarshal.Symbol("\xff"), &rubymarshal.String{Encoding: "NOPE"},
	} {
		if blob, err := rubymarshal.Encode(v); err == nil {
			t.Errorf("%v: written as %q", reflect.TypeOf(v), blob)
		}
	}
}

func TestDecode_ErrorsNameTheType(t *testing.T) {
	t.Parallel()
	for _, c := range golden(t) {
		if c.Describe.Class == "" || len(c.Blob) == 0 || !c.Refuse {
			continue
		}
		_, err := rubymarshal.Decode(c.Blob)
		if err == nil || !strings.Contains(err.Error(), "plain data") {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
	_, err := rubymarshal.Decode(base64Decode(t, "BAhvOhJHb2xkZW46OlRoaW5nBjoHQGFJIgZ4BjoGRVQ="))
	if err == nil || err.Error() != `marshal: byte 18: an object of class "Golden::Thing": only plain data are read` {
		t.Errorf("%v", err)
	}
}

func base64Decode(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
