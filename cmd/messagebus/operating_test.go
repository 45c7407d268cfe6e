package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// scrape returns the lines of /metrics that are no comments.
func scrape(t *testing.T, s *running) []string {
	t.Helper()
	got := send(t, "GET", "http://"+s.admin+"/metrics", "", nil)
	if got.status != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
		t.Fatalf("metrics: %d %v", got.status, got.header)
	}
	var lines []string
	for line := range strings.Lines(got.body) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func TestServe_CountsForPrometheus(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, "--metrics-channel", "/a")
	publishVia(t, s, `{"channel":"/a","data":1}`)
	publishVia(t, s, `{"channel":"/b","data":1}`)
	text := "\n" + strings.Join(scrape(t, s), "\n") + "\n"
	for _, want := range []string{
		`messagebus_publishes_total{result="ok"} 2`, `messagebus_channel_publishes_total{channel="/a"} 1`,
		`messagebus_possible_losses_total{reason="trimmed"} 0`, `messagebus_healthy 1`, `messagebus_held_requests 0`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("%s is missing in %s", want, text)
		}
	}
	if strings.Contains(text, `"/b"`) {
		t.Error("a channel that is not listed is a label")
	}
}

// expressions returns those of the alert rules and of the dashboard.
func expressions(t *testing.T) []string {
	t.Helper()
	read := func(path string) []byte {
		text, err := os.ReadFile("../../docs/operating/" + path)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations struct{ Summary string }
				Labels      struct{ Severity string }
			}
		}
	}
	if err := yaml.Unmarshal(read("alerts.yml"), &rules); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, rule := range rules.Groups[0].Rules {
		if rule.Alert == "" || rule.Annotations.Summary == "" || rule.Labels.Severity == "" {
			t.Errorf("a rule lacks something: %+v", rule)
		}
		all = append(all, rule.Expr)
	}
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(read("dashboard.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, panel := range dashboard.Panels {
		if ids[panel.ID] || panel.Title == "" || len(panel.Targets) == 0 {
			t.Errorf("a panel lacks something: %+v", panel)
		}
		ids[panel.ID] = true
		for _, target := range panel.Targets {
			all = append(all, target.Expr)
		}
	}
	return all
}

var (
	usedMetric = regexp.MustCompile(`\b(?:messagebus|process|go)_[a-z_]+`)
	usedLabel  = regexp.MustCompile(`(result|state|reason)=~?"([a-z|]+)"`)
)

// Rules and dashboard ask for what a server has.
func TestOperating_RulesAndDashboardUseMetricsThatThereAre(t *testing.T) {
	t.Parallel()
	names, labels := map[string]bool{}, map[string]bool{}
	for _, line := range scrape(t, serve(t, nil)) {
		name, _, _ := strings.Cut(line, " ")
		name, rest, _ := strings.Cut(name, "{")
		names[name] = true
		labels[strings.TrimSuffix(rest, "}")] = true
	}
	found := expressions(t)
	if len(found) < 30 {
		t.Errorf("only %d expressions", len(found))
	}
	for _, expression := range found {
		if strings.Count(expression, "(") != strings.Count(expression, ")") || strings.Count(expression, "{") != strings.Count(expression, "}") {
			t.Errorf("%s: brackets do not match", expression)
		}
		used := usedMetric.FindAllString(expression, -1)
		if len(used) == 0 && !strings.HasPrefix(expression, "up{") {
			t.Errorf("%s: it asks for nothing", expression)
		}
		for _, name := range used {
			if !names[name] {
				t.Errorf("%s: there is no %s", expression, name)
			}
		}
		for _, label := range usedLabel.FindAllStringSubmatch(expression, -1) {
			for value := range strings.SplitSeq(label[2], "|") {
				if !labels[label[1]+`="`+value+`"`] {
					t.Errorf("%s: no %s is %s", expression, label[1], value)
				}
			}
		}
	}
}

// Each metric has a line in the document, and each line is one of them.
func TestOperating_MetricsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/operating/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(messagebus_[a-z_]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		documented[row[1]] = true
	}
	there := map[string]bool{}
	for _, line := range scrape(t, serve(t, nil, "--metrics-channel", "/a")) {
		name := usedMetric.FindString(line)
		if !strings.HasPrefix(name, "messagebus_") {
			continue
		}
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, suffix)
		}
		there[name] = true
		if !documented[name] {
			t.Errorf("%s is not documented", name)
		}
	}
	for name := range documented {
		if !there[name] && !strings.HasPrefix(name, "messagebus_cache_") {
			t.Errorf("%s is documented, and is not there", name)
		}
	}
}
