package cache_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/cache"
)

type Point struct{ X, Y int }

type inner struct {
	Deep string `json:"deep"`
	Both int    // hidden by that of outer
}

type outer struct {
	inner
	*Point

	Name    string            `json:"name"`
	Empty   string            `json:"empty,omitempty"`
	Zero    time.Time         `json:"zero,omitzero"`
	When    time.Time         `json:"when"`
	Skipped int               `json:"-"`
	Number  int64             `json:"number,string"`
	Ratio   float64           `json:"ratio"`
	Small   float32           `json:"small"`
	Raw     json.RawMessage   `json:"raw"`
	Big     *big.Int          `json:"big"`
	Bytes   []byte            `json:"bytes"`
	Ages    map[int]string    `json:"ages"`
	Tags    map[string][]bool `json:"tags"`
	Maybe   *int              `json:"maybe"`
	Any     any               `json:"any"`
	List    [2]Point          `json:"list"`
	Both    int
	private int
}

// TestValues_ComeBackAsTheyWere for types of every kind, as JSON has them.
func TestValues_ComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	n := 7
	full := outer{
		inner: inner{Deep: "d"}, Point: &Point{1, 2}, Name: "größe 🐸\n", When: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Number: 12, Ratio: 100, Small: 0.1, Raw: json.RawMessage(`{"a":[1,2.5,"x"]}`), Big: new(big.Int).Lsh(big.NewInt(1), 99),
		Bytes: []byte{0, 255}, Ages: map[int]string{3: "three", -1: "minus"}, Tags: map[string][]bool{"t": {true}, "n": nil},
		Maybe: &n, Any: "x", List: [2]Point{{1, 2}, {3, 4}}, Both: 5,
	}
	comesBack(t, full)
	comesBack(t, outer{Any: 1.5, Raw: json.RawMessage("null")})
	comesBack(t, &full)
	comesBack(t, []string{"a", ""})
	comesBack(t, []int(nil))
	comesBack(t, map[string]Point{"a": {1, 2}})
	comesBack(t, "text")
	comesBack(t, 1.0)
	comesBack(t, float32(0.1))
	comesBack(t, uint64(1<<64-1))
	comesBack(t, true)
	comesBack(t, time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC))
	comesBack(t, json.RawMessage(`null`))
	comesBack[any](t, nil)
	comesBack[any](t, map[string]any{"a": []any{int64(1), 1.0, "x", nil, true}})
	comesBack[any](t, 1e20)
	comesBack[*int](t, nil)
}

// comesBack sets a value and reads it in another process.
func comesBack[V any](t *testing.T, value V) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		all := peers[string, V](t, bustest.NewStore(t), 2, nil)
		must(t, all[0].Set(t.Context(), "k", value))
		synctest.Wait()
		want(t, all[1], "k", value)
		if n := all[1].Stats().Undecodable; n > 0 {
			t.Errorf("%d values could not be read", n)
		}
	})
}

// TestValues_TravelAsJSONHasThem compares with encoding/json, which decides names
// and what is left out.
func TestValues_TravelAsJSONHasThem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		sender := peers[string, outer](t, store, 1, nil)[0]
		receiver := peers[string, json.RawMessage](t, store, 1, nil)[0]
		value := outer{Point: &Point{1, 2}, Big: big.NewInt(5), Raw: json.RawMessage("1"), private: 3, Skipped: 4}
		must(t, sender.Set(t.Context(), "k", value))
		synctest.Wait()
		raw, _ := receiver.Get("k")
		text, err := json.Marshal(value)
		must(t, err)
		var got, want any
		must(t, json.Unmarshal(raw, &got))
		must(t, json.Unmarshal(text, &want))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s, want %s", raw, text)
		}
		if !strings.Contains(string(raw), `"ratio":0.0,`) {
			t.Errorf("a float became an integer: %s", raw)
		}
	})
}

// TestValues_ThatDoNotFitAreRemoved from the type's Point of view.
func TestValues_ThatDoNotFitAreRemoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		anything := peers[string, any](t, store, 1, nil)[0]
		var told []string
		numbers := peers(t, store, 1, &cache.Options[string, int]{Trace: &cache.Trace{Undecodable: func(_ int64, key string, _ error) { told = append(told, key) }}})[0]
		for _, value := range []any{"text", 1.0, []int{1}, map[string]int{}, new(big.Int).Lsh(big.NewInt(1), 80), true} {
			must(t, anything.Set(t.Context(), "dog", 1))
			synctest.Wait()
			want(t, numbers, "dog", 1)
			must(t, anything.Set(t.Context(), "dog", value))
			synctest.Wait()
			wantNone(t, numbers, "dog")
		}
		if numbers.Stats().Undecodable != 6 || len(told) != 6 || told[0] != `"dog"` {
			t.Errorf("%+v; told of %v", numbers.Stats(), told)
		}
		must(t, anything.Set(t.Context(), "dog", 1))
		must(t, anything.Set(t.Context(), "dog", nil)) // for an int, the absence of a value
		synctest.Wait()
		wantNone(t, numbers, "dog")
		want[string, any](t, anything, "dog", nil)
		if n := numbers.Stats().Undecodable; n != 6 {
			t.Errorf("%d undecodable values after a null", n)
		}
	})
}

func TestKeys_KeepTheirType(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		all := peers[cache.AnyKey, string](t, store, 2, nil)
		texts := peers[string, string](t, store, 1, nil)[0]
		numbers := peers[uint8, string](t, store, 1, nil)[0]
		keys := map[cache.AnyKey]string{}
		for _, text := range []string{`1`, `1.0`, `"1"`, `null`, `true`, `["a",1]`, `{"b":1,"a":[null]}`, `256`, `""`, `-1`, `1e400`} {
			key, err := cache.ParseKey([]byte(text))
			if (err != nil) != (text == `1e400`) {
				t.Errorf("ParseKey(%s): %v", text, err)
			}
			if err == nil {
				keys[key] = text
				must(t, all[0].Set(t.Context(), key, text))
			}
		}
		synctest.Wait()
		for key, text := range keys {
			want(t, all[1], key, text)
		}
		if len(keys) != 10 || all[1].Len() != 10 || texts.Len() != 2 || numbers.Len() != 1 || texts.Stats().OtherKeys != 8 || numbers.Stats().OtherKeys != 9 {
			t.Errorf("%d keys; any %d, strings %d, uint8 %d; %+v", len(keys), all[1].Len(), texts.Len(), numbers.Len(), texts.Stats())
		}
		want(t, texts, "1", `"1"`)
		want(t, numbers, 1, `1`)
		same := map[string]string{`1.0`: `1e0`, `"a"`: `"\u0061"`, `{"a":1,"b":2}`: ` {"b":2, "a":9, "a":1}`, `-0.0`: `0.0`, `-0`: `0`}
		for a, b := range same {
			x, errX := cache.ParseKey([]byte(a))
			y, errY := cache.ParseKey([]byte(b))
			if x != y || errX != nil || errY != nil {
				t.Errorf("%s is %v, %s is %v", a, x, b, y)
			}
		}
		if cache.StringKey("a\n\"é") != mustParse(t, `"a\n\"\u00e9"`) || cache.IntKey(-3) != mustParse(t, "-3") || cache.NullKey() != (cache.AnyKey{}) {
			t.Error("made keys are not those that are read")
		}
		if _, err := cache.ParseKey([]byte("1 2")); err == nil {
			t.Error("two values: no error")
		}
	})
}

func mustParse(t *testing.T, text string) cache.AnyKey {
	t.Helper()
	key, err := cache.ParseKey([]byte(text))
	must(t, err)
	var again cache.AnyKey
	raw, err := json.Marshal(key)
	must(t, err)
	must(t, json.Unmarshal(raw, &again))
	if again != key {
		t.Errorf("%v came back from JSON as %v", key, again)
	}
	return key
}

// reversed is a codec.
type reversed struct{}

func (reversed) Encode(v Point) ([]byte, error) { return fmt.Appendf(nil, "%d/%d", v.Y, v.X), nil }

func (reversed) Decode(b []byte) (p Point, err error) {
	_, err = fmt.Sscanf(string(b), "%d/%d", &p.Y, &p.X)
	return p, err
}

func TestCodec_IsWhatGoPeersSpeak(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		all := peers(t, store, 2, &cache.Options[string, Point]{Codec: reversed{}})
		ruby := peers[string, any](t, store, 1, nil)[0]
		must(t, all[0].Set(t.Context(), "p", Point{1, 2}))
		synctest.Wait()
		want(t, all[1], "p", Point{1, 2})
		want[string, any](t, ruby, "p", "Mi8x")
		for _, foreign := range []any{1, "?", []int{1}, "AAAA"} {
			must(t, ruby.Set(t.Context(), "p", foreign))
			synctest.Wait()
			wantNone(t, all[1], "p")
		}
	})
}

// TestValues_OfHostileBlobsHurtNobody and the cache goes on.
func TestValues_OfHostileBlobsHurtNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		b := bustest.On(t, store, &bus.Options{Keepalive: -1})
		c := open[string, any](t, b, nil)
		for name, value := range map[string]string{
			"unfolding links":  unfolding(),
			"a length of 2^31": "BAhbBP///38=",
			"a link nowhere":   "BAhAYw==",
			"a truncated one":  "BAhbCGkG",
		} {
			must(t, c.Set(t.Context(), "dog", 1))
			_, err := b.Publish(t.Context(), "/distributed_hash", map[string]any{"op": "set", "key": "dog", "value": value, "marshalled": true, "hash_key": "animals"})
			must(t, err)
			synctest.Wait()
			if v, ok := c.Get("dog"); ok {
				t.Errorf("%s: it is read as %T", name, v)
			}
		}
		if n := c.Stats().Undecodable; n != 4 {
			t.Errorf("%d of 4 were undecodable", n)
		}
		must(t, c.Set(t.Context(), "dog", 2))
		synctest.Wait()
		want[string, any](t, c, "dog", int64(2))
	})
}

// TestIntegers_OfManyDigitsAreNotRead: it takes the square of the time.
func TestIntegers_OfManyDigitsAreNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		c := open[cache.AnyKey, any](t, bustest.On(t, store, &bus.Options{Keepalive: -1}), nil)
		must(t, c.Set(t.Context(), cache.StringKey("dog"), 1))
		huge := strings.Repeat("7", 100_000)
		for _, text := range []string{
			`"key":` + huge + `,"value":1`, `"key":"dog","value":` + huge, `"key":"dog","value":[` + huge + `]`,
		} {
			envelope := `{"data":{"op":"set",` + text + `,"hash_key":"animals"},"user_ids":null,"group_ids":null,"client_ids":null}`
			_, err := store.Publish(t.Context(), "/distributed_hash", []byte(envelope), driver.Limits{MaxSize: 100, MaxGlobalSize: 100, MaxAge: time.Hour})
			must(t, err)
		}
		synctest.Wait()
		if c.Len() > 0 {
			t.Errorf("%d keys are held", c.Len())
		}
		if s := c.Stats(); s.OtherKeys != 1 || s.Undecodable != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// unfolding is arrays that hold the one before twice, 60 times: a hundred bytes
// that would be 2^60 values.
func unfolding() string {
	blob := []byte("\x04\x08[\x41") // 60 arrays side by side, each a link twice
	blob = append(blob, "[\x00"...)
	for i := range 59 {
		blob = append(blob, '[', 7, '@', byte(i+1+5), '@', byte(i+1+5))
	}
	return base64.StdEncoding.EncodeToString(blob)
}
