package driver_test

import (
	"bytes"
	"math"
	"math/big"
	"runtime"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// encodings are messages with the one form in which they are written.
var encodings = map[string]struct {
	message driver.Message
	encoded string
}{
	"plain":              {driver.Message{12, 3, "/chat", []byte(`{"data":"x"}`)}, `12|3|/chat|{"data":"x"}`},
	"site":               {driver.Message{5, 1, "/chat$|$site-a", []byte("x")}, "5|1|/chat$$$123$$$site-a|x"},
	"pipes in a channel": {driver.Message{2, 2, "||/a||b|", []byte("x")}, "2|2|$$123$$$$123$$/a$$123$$$$123$$b$$123$$|x"},
	"pipes in data":      {driver.Message{10, 2, "/c", []byte("a|b||c|")}, "10|2|/c|a|b||c|"},
	"empty":              {driver.Message{0, 0, "", nil}, "0|0||"},
	"lines":              {driver.Message{1, 2, "/a b\nc\t", []byte("x\ny")}, "1|2|/a b\nc\t|x\ny"},
	"unicode":            {driver.Message{8, 9, "/日本/🚀", []byte("é\u2028")}, "8|9|/日本/🚀|é\u2028"},
	"binary":             {driver.Message{1, 2, "/\xff", []byte("\x00\xff|\x80")}, "1|2|/\xff|\x00\xff|\x80"},
	"largest ids": {
		driver.Message{math.MaxInt64, math.MinInt64, "/a", []byte("x")},
		"9223372036854775807|-9223372036854775808|/a|x",
	},
}

func TestEncode_WritesTheStoredForm(t *testing.T) {
	t.Parallel()
	for name, test := range encodings {
		if got := string(test.message.Encode()); got != test.encoded {
			t.Errorf("%s: %q, want %q", name, got, test.encoded)
		}
	}
}

func TestDecode_ReadsWhatEncodeWrote(t *testing.T) {
	t.Parallel()
	for name, test := range encodings {
		wantDecoded(t, name, test.encoded, test.message)
	}
}

func wantDecoded(t *testing.T, name, encoded string, want driver.Message) {
	t.Helper()
	got, err := driver.Decode([]byte(encoded))
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if got.GlobalID != want.GlobalID || got.ID != want.ID || got.Channel != want.Channel || !bytes.Equal(got.Data, want.Data) {
		t.Errorf("%s: %q reads as %+v, want %+v", name, encoded, got, want)
	}
}

func TestDecode_IsAsLenientAsTheGem(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		encoded string
		want    driver.Message
	}{
		"escapes that touch":           {"12|3|$$123$$$$123$$a$$123$$|x", driver.Message{12, 3, "||a|", []byte("x")}},
		"an escape inside dollars":     {"1|2|/$$12$$123$$3$$|x", driver.Message{1, 2, "/$$12|3$$", []byte("x")}},
		"an escape in data stays":      {"1|2|/a|$$123$$", driver.Message{1, 2, "/a", []byte("$$123$$")}},
		"an unescaped pipe ends names": {"1|2|/a|b|c|d", driver.Message{1, 2, "/a", []byte("b|c|d")}},
		"nothing but separators":       {"|||", driver.Message{}},
		"empty ids":                    {"||/a|x", driver.Message{0, 0, "/a", []byte("x")}},
		"ids that are no numbers":      {"abc|def|/a|x", driver.Message{0, 0, "/a", []byte("x")}},
		"ids with a tail":              {"12abc|7.9|/a|x", driver.Message{12, 7, "/a", []byte("x")}},
		"ids with white space":         {" 12|\n7|/a|x", driver.Message{12, 7, "/a", []byte("x")}},
		"ids with underscores":         {"1_000|2__3|/a|x", driver.Message{1000, 2, "/a", []byte("x")}},
		"ids with signs":               {"-1|+5|/a|x", driver.Message{-1, 5, "/a", []byte("x")}},
		"ids beyond 64 bits": {
			"9223372036854775808|-100000000000000000000000|/a|x",
			driver.Message{math.MaxInt64, math.MinInt64, "/a", []byte("x")},
		},
	} {
		wantDecoded(t, name, test.encoded, test.want)
	}
}

func TestDecode_RefusesFewerThanThreeSeparators(t *testing.T) {
	t.Parallel()
	for _, encoded := range []string{"", "abc", "1|2", "1|2|/a", "$$UNSUBSCRIBE"} {
		if m, err := driver.Decode([]byte(encoded)); err == nil {
			t.Errorf("%q reads as %+v, want an error", encoded, m)
		}
	}
}

func TestDecode_ErrorQuotesTheStartOnly(t *testing.T) {
	t.Parallel()
	_, err := driver.Decode(bytes.Repeat([]byte("\x00secret"), 1000))
	if err == nil || !strings.Contains(err.Error(), `\x00secret`) || len(err.Error()) > 300 {
		t.Errorf("%v, want an error of at most 300 bytes that quotes how the value begins", err)
	}
}

func TestParseInt_ReadsAsRubyDoes(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int64{
		"": 0, "0": 0, "7": 7, "-7": -7, "+7": 7, "007": 7, "0_3": 3, "1_2_3": 123,
		"_1": 0, "1_": 1, "1__2": 1, "-_1": 0, "- 1": 0, "--1": 0, "+-1": 0, "-": 0, "+": 0,
		" \t\n\v\f\r9": 9, "\u00a09": 0, "9 9": 9, "1e3": 1, "1.9": 1, "0x1f": 0, "0b1": 0, "0o7": 0, "٣": 0, "1\x002": 1,
		"0d12": 12, "-0D12": -12, "0d": 0, "0d_1": 0, "0d0d1": 0, "00d1": 0, "0000000000000000000000012": 12,
		"9223372036854775807":  math.MaxInt64,
		"9223372036854775808":  math.MaxInt64,
		"-9223372036854775808": math.MinInt64,
		"-9223372036854775809": math.MinInt64,
	} {
		if got := driver.ParseInt(s); got != want {
			t.Errorf("%q reads as %d, want %d", s, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, test := range encodings {
		f.Add([]byte(test.encoded))
	}
	f.Add([]byte("1|2|$$123$$12|3$$|x"))
	f.Add([]byte(" -1_0|+2__0|/a|"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := driver.Decode(b)
		if separators := bytes.Count(b, []byte("|")); (err == nil) != (separators >= 3) {
			t.Fatalf("%q has %d separators: %v", b, separators, err)
		}
		if err != nil {
			return
		}
		if len(m.Channel)+len(m.Data) > len(b) {
			t.Fatalf("%q reads as %d bytes of channel and %d of data", b, len(m.Channel), len(m.Data))
		}
		encoded := m.Encode()
		again, err := driver.Decode(encoded)
		if err != nil {
			t.Fatalf("%q was written as %q: %v", b, encoded, err)
		}
		if again.GlobalID != m.GlobalID || again.ID != m.ID || again.Channel != m.Channel || !bytes.Equal(again.Data, m.Data) {
			t.Fatalf("%q reads as %+v, was written as %q, reads then as %+v", b, m, encoded, again)
		}
	})
}

// It is not parallel, since others' allocations would count.
func TestDecode_AllocatesNoMoreThanItReads(t *testing.T) {
	for name, test := range map[string]struct {
		encoded string
		limit   uint64 // bytes
	}{
		"long ids":     {strings.Repeat("9", 1<<16) + "|" + strings.Repeat("0", 1<<16) + "|/a|x", 1 << 18},
		"long channel": {"1|1|" + strings.Repeat("$$123$$", 1<<14) + "|x", 1 << 18},
		"long data":    {"1|1|/a|" + strings.Repeat("x", 1<<20), 1024}, // data is not copied
	} {
		const runs = 100
		encoded := []byte(test.encoded)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			_, _ = driver.Decode(encoded)
		}
		runtime.ReadMemStats(&after)
		if got := (after.TotalAlloc - before.TotalAlloc) / runs; got > test.limit {
			t.Errorf("%s: %d bytes allocated for %d, want at most %d", name, got, len(encoded), test.limit)
		}
	}
}

// FuzzParseInt compares with a reference that reads any size and cuts it then.
func FuzzParseInt(f *testing.F) {
	for _, s := range []string{"", "12", " -1_000x", "+1__0", "_1", "0d7", "-0D_7", "99999999999999999999", "-99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := driver.ParseInt(s), reference(s); got != want {
			t.Fatalf("%q reads as %d, want %d", s, got, want)
		}
		if m, err := driver.Decode([]byte("0|" + s + "|||")); err == nil && !strings.Contains(s, "|") && m.ID != reference(s) {
			t.Fatalf("%q reads as the id %d, want %d", s, m.ID, reference(s))
		}
	})
}

func reference(s string) int64 {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	sign := ""
	if s != "" && strings.Contains("+-", s[:1]) { //nolint:gocritic // the text is long on purpose
		sign, s = s[:1], s[1:]
	}
	if len(s) > 2 && strings.EqualFold(s[:2], "0d") && s[2] != '_' {
		s = s[2:]
	}
	end, wasDigit := 0, false
	for ; end < len(s); end++ {
		isDigit := s[end] >= '0' && s[end] <= '9'
		if !isDigit && !(s[end] == '_' && wasDigit) {
			break
		}
		wasDigit = isDigit
	}
	n, ok := new(big.Int).SetString(sign+strings.ReplaceAll(s[:end], "_", ""), 10)
	switch {
	case !ok:
		return 0
	case n.Cmp(big.NewInt(math.MaxInt64)) > 0:
		return math.MaxInt64
	case n.Cmp(big.NewInt(math.MinInt64)) < 0:
		return math.MinInt64
	default:
		return n.Int64()
	}
}

func BenchmarkDecode(b *testing.B) {
	encoded := []byte(encodings["site"].encoded)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := driver.Decode(encoded); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	m := encodings["site"].message
	b.ReportAllocs()
	for b.Loop() {
		_ = m.Encode()
	}
}
