package operating_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A row of metrics.md is one metric, as both modules have it.
type row struct{ prometheus, otel, kind, what string }

var (
	metricRow = regexp.MustCompile("(?m)^\\| `(messagebus_[a-z_]+)` \\| `(messagebus\\.[a-z_.]+)` \\| (.+?) \\| (.+?) \\|$")
	labelRow  = regexp.MustCompile("(?m)^\\| `([a-z]+)` \\| `([a-z.]+)` \\| .+? \\| (.+?) \\|$")
	quoted    = regexp.MustCompile("`([^`]+)`")
)

func documented(t *testing.T) (rows []row) {
	t.Helper()
	for _, r := range metricRow.FindAllStringSubmatch(string(read(t, "metrics.md")), -1) {
		rows = append(rows, row{r[1], r[2], r[3], r[4]})
	}
	return rows
}

// metrics.md is the list of what both modules count. Each row is a metric of both, of the same
// kind, with the same labels, the same text, and, after the same calls, the same values; and
// there are no others.
func TestMetrics_AreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	byPrometheus, byOTel := observed(t)
	attributes := attributesOf(t)
	for _, r := range documented(t) {
		one, two := byPrometheus[r.prometheus], byOTel[r.otel]
		if one == nil || two == nil {
			t.Errorf("%s or %s is in the document, and is not there", r.prometheus, r.otel)
			continue
		}
		delete(byPrometheus, r.prometheus)
		delete(byOTel, r.otel)
		kind := one.kind
		for i, label := range one.labels {
			kind += map[bool]string{true: ", by ", false: ", "}[i == 0] + "`" + label + "`"
		}
		if r.kind != kind || two.kind != one.kind {
			t.Errorf("%s is a %s, in OpenTelemetry a %s; the document says %s", r.prometheus, kind, two.kind, r.kind)
		}
		if r.what != one.what || r.what != two.what {
			t.Errorf("%s is described as %q, in OpenTelemetry as %q, and in the document as %q", r.prometheus, one.what, two.what, r.what)
		}
		if !maps.Equal(one.points, two.points) {
			t.Errorf("%s is %v, in OpenTelemetry %v", r.prometheus, one.points, two.points)
		}
		if len(one.labels) != len(two.labels) {
			t.Errorf("%s has the labels %q, in OpenTelemetry the attributes %q", r.prometheus, one.labels, two.labels)
		}
		for _, attribute := range two.labels {
			if !slices.Contains(one.labels, attributes[attribute]) {
				t.Errorf("%s has the attribute %s, and no label of the document that it stands for", r.otel, attribute)
			}
		}
	}
	for name := range byPrometheus {
		t.Errorf("%s is not in the document", name)
	}
	for name := range byOTel {
		t.Errorf("%s is not in the document", name)
	}
}

// attributesOf returns which label each attribute is, by the document.
func attributesOf(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, r := range labelRow.FindAllStringSubmatch(string(read(t, "metrics.md")), -1) {
		all[r[2]] = r[1]
	}
	return all
}

// The document says what a label can be, where that does not depend on the program.
func TestMetrics_HaveTheLabelsOfTheDocument(t *testing.T) {
	t.Parallel()
	_, byOTel := observed(t)
	found := map[string]map[string]bool{}
	for _, m := range byOTel {
		for attribute, values := range m.values {
			if found[attribute] == nil {
				found[attribute] = map[string]bool{}
			}
			maps.Copy(found[attribute], values)
		}
	}
	for _, r := range labelRow.FindAllStringSubmatch(string(read(t, "metrics.md")), -1) {
		attribute, values := r[2], []string{}
		for _, value := range quoted.FindAllStringSubmatch(r[3], -1) {
			values = append(values, value[1])
		}
		if len(values) > 0 && !slices.Equal(values, slices.Sorted(maps.Keys(found[attribute]))) {
			t.Errorf("%s can be %q; the document says %q", attribute, slices.Sorted(maps.Keys(found[attribute])), values)
		}
		delete(found, attribute)
	}
	for attribute := range found {
		t.Errorf("%s is not in the document", attribute)
	}
}

// Names in OpenTelemetry follow its conventions, and become those of Prometheus by the
// translation of its exporters.
func TestMetrics_TranslateFromOpenTelemetry(t *testing.T) {
	t.Parallel()
	_, byOTel := observed(t)
	suffixes := map[string]string{"By": "_bytes", "s": "_seconds"}
	rows := documented(t)
	for _, r := range rows {
		m := byOTel[r.otel]
		if m == nil {
			t.Errorf("there is no %s", r.otel)
			continue
		}
		translated := strings.ReplaceAll(r.otel, ".", "_") + suffixes[m.unit]
		if m.kind == "counter" {
			translated += "_total"
		}
		if translated != r.prometheus {
			t.Errorf("%s becomes %s, the document says %s", r.otel, translated, r.prometheus)
		}
		if annotation := strings.HasPrefix(m.unit, "{") && strings.HasSuffix(m.unit, "}"); !annotation && m.unit != "" && suffixes[m.unit] == "" {
			t.Errorf("%s is in %q", r.otel, m.unit)
		}
		for _, other := range rows {
			if strings.HasPrefix(other.otel, r.otel+".") {
				t.Errorf("%s is a name and the beginning of another, %s", r.otel, other.otel)
			}
		}
	}
	if len(rows) != len(byOTel) {
		t.Errorf("the document has %d rows, and there are %d metrics", len(rows), len(byOTel))
	}
}
