package rubymarshal

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of what is read.
const (
	maxDepth       = 256      // containers in containers
	maxBigIntBytes = 64 << 10 // of one integer: turning it into digits takes more than linear time
	keyBytes       = 64 << 10 // for comparing keys, and eight times the blob
	version        = "\x04\x08"
)

var errShort = errors.New("it ends too early")

// Decode reads one value and expects nothing after it. The result keeps no
// reference to blob. It takes memory in proportion to the length of blob,
// whatever sizes blob claims, and refuses containers nested deeper than 256 or
// that hold themselves.
func Decode(blob []byte) (any, error) {
	d := decoder{rest: blob, budget: keyBytes + 8*len(blob)}
	v, err := d.decode()
	if err != nil {
		return nil, fmt.Errorf("marshal: byte %d: %w", len(blob)-len(d.rest), err)
	}
	return v, nil
}

type decoder struct {
	rest    []byte
	depth   int
	symbols []Symbol
	objects []object
	budget  int // bytes that comparing keys may still take; links make small blobs large
}

// object is a value that links refer to. Links count symbols apart from all
// the rest; nil, booleans and small integers take no number.
type object struct {
	value    any
	finished bool
}

func (d *decoder) decode() (any, error) {
	head, err := d.take(len(version))
	if err != nil {
		return nil, err
	}
	if string(head) != version {
		return nil, fmt.Errorf("version %d.%d of Marshal; only 4.8 is read", head[0], head[1])
	}
	v, err := d.value()
	if err == nil && len(d.rest) > 0 {
		err = fmt.Errorf("%d more bytes after the value", len(d.rest))
	}
	return v, err
}

// value reads a value, whatever its type.
func (d *decoder) value() (any, error) {
	if d.depth++; d.depth > maxDepth {
		return nil, fmt.Errorf("it is nested deeper than %d", maxDepth)
	}
	defer func() { d.depth-- }()
	kind, err := d.byte()
	if err != nil {
		return nil, err
	}
	switch kind {
	case '0':
		return nil, nil //nolint:nilnil // nil is the value: Ruby's
	case 'T':
		return true, nil
	case 'F':
		return false, nil
	case 'i':
		return d.long()
	case 'l':
		return d.bigInt()
	case 'f':
		return d.float()
	case '"':
		return d.string()
	case ':', ';':
		return d.symbolOf(kind)
	case 'I':
		return d.withVariables()
	case '[':
		return d.array()
	case '{', '}':
		return d.hash(kind == '}')
	case 'o':
		return d.object()
	case '@':
		return d.link()
	default:
		return nil, d.refuse(kind)
	}
}

// refused are the types that are no plain data.
var refused = map[byte]string{
	'S': "a struct", 'C': "a subclass", 'e': "a value that was extended", 'c': "a class", 'm': "a module",
	'M': "a class or module", 'u': "an object with its own dump", 'U': "an object with its own dump",
	'd': "a native object", '/': "a regular expression",
}

// refuse names a type that is not read, and the class where one follows.
func (d *decoder) refuse(kind byte) error {
	what, known := refused[kind]
	switch {
	case !known:
		return fmt.Errorf("the unknown type %q", kind)
	case strings.IndexByte("SCeuUd", kind) >= 0:
		return fmt.Errorf("%s, %s: only plain data are read", what, d.className())
	default:
		return fmt.Errorf("%s: only plain data are read", what)
	}
}

// className reads a class's name for an error.
func (d *decoder) className() string {
	kind, err := d.byte()
	if err != nil {
		return "of a class without a name"
	}
	name, err := d.symbolOf(kind)
	if err != nil {
		return "of a class without a name"
	}
	const most = 60
	if len(name) > most {
		name = name[:most] + "…"
	}
	return fmt.Sprintf("of class %q", string(name))
}

func (d *decoder) byte() (byte, error) {
	if len(d.rest) == 0 {
		return 0, errShort
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b, nil
}

func (d *decoder) take(n int) ([]byte, error) {
	if n > len(d.rest) {
		return nil, errShort
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b, nil
}

// long reads an integer of up to four bytes: small ones are the first byte,
// shifted by 5; otherwise it tells how many bytes follow, and the sign.
func (d *decoder) long() (int64, error) {
	first, err := d.byte()
	if err != nil {
		return 0, err
	}
	c := int64(int8(first))
	switch {
	case c == 0:
		return 0, nil
	case c > 4:
		return c - 5, nil
	case c < -4:
		return c + 5, nil
	}
	bytes, err := d.take(int(max(c, -c)))
	if err != nil {
		return 0, err
	}
	var n int64
	if c < 0 {
		n = -1 << (8 * len(bytes))
	}
	for i, b := range bytes {
		n |= int64(b) << (8 * i)
	}
	return n, nil
}

// size reads a count of things that take at least each bytes in what follows.
func (d *decoder) size(of string, each int) (int, error) {
	n, err := d.long()
	if err != nil {
		return 0, err
	}
	if n < 0 || n > int64(len(d.rest)/each) {
		return 0, fmt.Errorf("%s of size %d, with %d bytes left", of, n, len(d.rest))
	}
	return int(n), nil
}

func (d *decoder) bytes(of string) ([]byte, error) {
	n, err := d.size(of, 1)
	if err != nil {
		return nil, err
	}
	return d.take(n)
}

// add gives a finished value its number.
func (d *decoder) add(v any) { d.objects = append(d.objects, object{v, true}) }

// begin gives a container its number before what is in it; the caller calls what
// it returns when the container is complete.
func (d *decoder) begin(v any) (finish func()) {
	n := len(d.objects)
	d.objects = append(d.objects, object{v, false})
	return func() { d.objects[n].finished = true }
}

func (d *decoder) link() (any, error) {
	n, err := d.long()
	if err != nil {
		return nil, err
	}
	if n < 0 || n >= int64(len(d.objects)) {
		return nil, fmt.Errorf("a link to object %d; there are %d", n, len(d.objects))
	}
	if !d.objects[n].finished {
		return nil, fmt.Errorf("a link to object %d from inside it", n)
	}
	return d.objects[n].value, nil
}

// bigInt reads an integer of any size: a sign, the number of pairs of bytes,
// and the bytes, the lowest first.
func (d *decoder) bigInt() (any, error) {
	sign, err := d.byte()
	if err != nil {
		return nil, err
	}
	if sign != '+' && sign != '-' {
		return nil, fmt.Errorf("an integer with the sign %q", sign)
	}
	n, err := d.size("an integer", 2)
	if err != nil {
		return nil, err
	}
	if 2*n > maxBigIntBytes {
		return nil, fmt.Errorf("an integer of %d bytes; at most %d are read", 2*n, maxBigIntBytes)
	}
	low, err := d.take(2 * n)
	if err != nil {
		return nil, err
	}
	high := slices.Clone(low)
	slices.Reverse(high)
	value := new(big.Int).SetBytes(high)
	if sign == '-' {
		value.Neg(value)
	}
	var v any = value
	if value.IsInt64() {
		v = value.Int64()
	}
	d.add(v)
	return v, nil
}

func (d *decoder) float() (any, error) {
	text, err := d.bytes("a float")
	if err != nil {
		return nil, err
	}
	f, err := parseFloat(string(text))
	if err != nil {
		return nil, err
	}
	d.add(f)
	return f, nil
}

func parseFloat(text string) (float64, error) {
	switch text {
	case "inf":
		return math.Inf(1), nil
	case "-inf":
		return math.Inf(-1), nil
	case "nan":
		return math.NaN(), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || strings.Trim(text, "0123456789.+-e") != "" || strings.ContainsAny(text, "xXpP_n") {
		return 0, fmt.Errorf("the float %q, which is no number", shorten(text))
	}
	return f, nil
}

func shorten(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// string reads a string without the encoding, which stands around it.
func (d *decoder) string() (*String, error) {
	b, err := d.bytes("a string")
	if err != nil {
		return nil, err
	}
	s := &String{Bytes: slices.Clone(b), Encoding: Binary}
	d.add(s)
	return s, nil
}

// symbolOf reads a symbol, or a link to one, whose type was read.
func (d *decoder) symbolOf(kind byte) (Symbol, error) {
	switch kind {
	case ':':
		return d.symbol(false)
	case ';':
		n, err := d.long()
		if err != nil {
			return "", err
		}
		if n < 0 || n >= int64(len(d.symbols)) {
			return "", fmt.Errorf("a link to symbol %d; there are %d", n, len(d.symbols))
		}
		return d.symbols[n], nil
	case 'I':
		if next, err := d.byte(); err != nil || next != ':' {
			return "", errors.New("something else where a symbol must be")
		}
		return d.symbol(true)
	default:
		return "", errors.New("something else where a symbol must be")
	}
}

// symbol reads a symbol, which has its number before its encoding follows.
func (d *decoder) symbol(encoded bool) (Symbol, error) {
	b, err := d.bytes("a symbol")
	if err != nil {
		return "", err
	}
	s := Symbol(b)
	d.symbols = append(d.symbols, s)
	encoding := ASCII
	if encoded {
		if encoding, err = d.encoding("a symbol"); err != nil {
			return "", err
		}
	}
	if encoding != UTF8 && !isASCII(b) || !utf8.Valid(b) {
		return "", fmt.Errorf("the symbol %q, which is not UTF-8", shorten(string(s)))
	}
	return s, nil
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// withVariables reads a string or a symbol whose encoding follows it. Ruby
// treats the encoding as an instance variable, of which no other is read.
func (d *decoder) withVariables() (any, error) {
	kind, err := d.byte()
	if err != nil {
		return nil, err
	}
	switch kind {
	case ':':
		return d.symbol(true)
	case '"':
		s, err := d.string()
		if err != nil {
			return nil, err
		}
		s.Encoding, err = d.encoding("a string")
		return s, err
	}
	if _, known := refused[kind]; known {
		return nil, d.refuse(kind)
	}
	return nil, fmt.Errorf("instance variables of the type %q", kind)
}

// encoding reads the instance variables of a string or symbol: none, or one
// that names the encoding.
func (d *decoder) encoding(of string) (string, error) {
	n, err := d.size("instance variables", 2)
	if err != nil || n == 0 {
		return Binary, err
	}
	if n > 1 {
		return "", fmt.Errorf("%s with %d instance variables; only its encoding is read", of, n)
	}
	kind, err := d.byte()
	if err != nil {
		return "", err
	}
	name, err := d.symbolOf(kind)
	if err != nil {
		return "", err
	}
	v, err := d.value()
	if err != nil {
		return "", err
	}
	return encodingOf(of, name, v)
}

func encodingOf(of string, name Symbol, v any) (string, error) {
	is, isBool := v.(bool)
	s, isString := v.(*String)
	switch {
	case name == "E" && isBool && is:
		return UTF8, nil
	case name == "E" && isBool:
		return ASCII, nil
	case name == "encoding" && isString && encodings[string(s.Bytes)]:
		return string(s.Bytes), nil
	case name == "encoding" && isString:
		return "", fmt.Errorf("the unknown encoding %q", shorten(string(s.Bytes)))
	default:
		return "", fmt.Errorf("%s with the instance variable %q; only its encoding is read", of, shorten(string(name)))
	}
}

// encodings are the names that Ruby writes for strings that are neither UTF-8
// nor ASCII nor binary.
var encodings = func() map[string]bool {
	names := map[string]bool{}
	for name := range strings.FieldsSeq(`UTF-16BE UTF-16LE UTF-32BE UTF-32LE UTF-16 UTF-32 UTF-7 UTF8-MAC CESU-8 EUC-JP EUC-KR EUC-TW
		CP51932 eucJP-ms GB18030 GBK GB2312 GB12345 Big5 Big5-HKSCS Big5-UAO CP949 CP950 CP951 Shift_JIS Windows-31J SJIS-DoCoMo
		SJIS-KDDI SJIS-SoftBank ISO-2022-JP ISO-2022-JP-2 ISO-2022-JP-KDDI CP50220 CP50221 stateless-ISO-2022-JP KOI8-R KOI8-U TIS-620
		IBM437 IBM720 IBM737 IBM775 IBM850 IBM852 IBM855 IBM857 IBM860 IBM861 IBM862 IBM863 IBM864 IBM865 IBM866 IBM869 IBM037
		Emacs-Mule macCroatian macCyrillic macGreek macIceland macJapanese macRoman macRomania macThai macTurkish macUkraine macCentEuro`) {
		names[name] = true
	}
	for i := 1; i <= 16; i++ {
		names[fmt.Sprintf("ISO-8859-%d", i)] = i != 12
	}
	for _, page := range []int{874, 1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258} {
		names[fmt.Sprintf("Windows-%d", page)] = true
	}
	return names
}()

func (d *decoder) array() (any, error) {
	n, err := d.size("an array", 1)
	if err != nil {
		return nil, err
	}
	a := &Array{Items: make([]any, 0, min(n, trusted))}
	finish := d.begin(a)
	for range n {
		v, err := d.value()
		if err != nil {
			return nil, err
		}
		a.Items = append(a.Items, v)
	}
	finish()
	return a, nil
}

// trusted is how many members are made room for before they are there. The size
// was checked against what is left, but containers in containers can each claim
// all of that.
const trusted = 16

func (d *decoder) hash(hasDefault bool) (any, error) {
	h := &Hash{}
	finish := d.begin(h)
	if err := d.pairs(h); err != nil {
		return nil, err
	}
	if hasDefault {
		v, err := d.value()
		if err != nil {
			return nil, err
		}
		h.Default = v
	}
	finish()
	return h, nil
}

func (d *decoder) pairs(h *Hash) error {
	n, err := d.size("a hash", 2)
	if err != nil {
		return err
	}
	h.Pairs = make([]Pair, 0, min(n, trusted))
	for range n {
		key, err := d.value()
		if err != nil {
			return err
		}
		v, err := d.value()
		if err != nil {
			return err
		}
		h.Pairs = append(h.Pairs, Pair{key, v})
	}
	return d.distinct(h.Pairs)
}

// object reads a Set, which is an object with a hash of its members in it, and
// refuses every other class.
func (d *decoder) object() (any, error) {
	kind, err := d.byte()
	if err != nil {
		return nil, err
	}
	class, err := d.symbolOf(kind)
	if err != nil {
		return nil, err
	}
	if class != "Set" {
		return nil, fmt.Errorf("an object of class %q: only plain data are read", shorten(string(class)))
	}
	s := &Set{}
	finish := d.begin(s)
	if err := d.members(s); err != nil {
		return nil, err
	}
	finish()
	return s, nil
}

func (d *decoder) members(s *Set) error {
	n, err := d.size("instance variables", 2)
	if err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("a set with %d instance variables; it has one", n)
	}
	kind, err := d.byte()
	if err != nil {
		return err
	}
	if name, err := d.symbolOf(kind); err != nil || name != "@hash" {
		return errors.Join(errors.New("a set whose instance variable is not @hash"), err)
	}
	kind, err = d.byte()
	if err != nil {
		return err
	}
	if kind != '{' && kind != '}' {
		return fmt.Errorf("a set on the type %q; it is on a hash", kind)
	}
	if d.depth++; d.depth > maxDepth {
		return fmt.Errorf("it is nested deeper than %d", maxDepth)
	}
	defer func() { d.depth-- }()
	hash := len(d.objects)
	v, err := d.hash(kind == '}')
	if err != nil {
		return err
	}
	d.objects[hash].finished = false // nothing but the set may refer to it
	return s.fill(v)
}

func (s *Set) fill(v any) error {
	h, ok := v.(*Hash)
	if !ok || h.Default != nil && h.Default != false {
		return errors.New("a set whose hash has a default")
	}
	s.Items = make([]any, len(h.Pairs))
	for i, p := range h.Pairs {
		if p.Value != true {
			return errors.New("a set whose hash holds something else than true")
		}
		s.Items[i] = p.Key
	}
	return nil
}
