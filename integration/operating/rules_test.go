package operating_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/port"
)

// promtool runs the tool that comes with Prometheus.
func promtool(t *testing.T, stdin io.Reader, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("there is no promtool, which comes with Prometheus: scripts/setup.sh test installs it (the package prometheus of Debian and Ubuntu)")
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir, cmd.Stdin = folder(t), stdin
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, output)
	}
}

// An alert is a rule of alerts.yml.
type alert struct {
	Alert, Expr string
	Labels      struct{ Severity string }
	Annotations struct{ Summary string }
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []alert }
	}
	if err := yaml.Unmarshal(read(t, "alerts.yml"), &file); err != nil {
		t.Fatal(err)
	}
	return file.Groups[0].Rules
}

func TestAlerts_DoWhatTheirTestsSay(t *testing.T) {
	t.Parallel()
	promtool(t, nil, "check", "rules", "alerts.yml")
	promtool(t, nil, "test", "rules", "alerts.test.yml")
}

// Of each alert it is shown that it fires, and that it does not.
func TestAlerts_AreAllTested(t *testing.T) {
	t.Parallel()
	var file struct {
		Tests []struct {
			Rules []struct {
				Name   string `yaml:"alertname"`
				Alerts []any  `yaml:"exp_alerts"` //nolint:tagliatelle // the name is promtool's
			} `yaml:"alert_rule_test"` //nolint:tagliatelle // as above
		}
	}
	if err := yaml.Unmarshal(read(t, "alerts.test.yml"), &file); err != nil {
		t.Fatal(err)
	}
	fires, rests := map[string]bool{}, map[string]bool{}
	for _, group := range file.Tests {
		for _, rule := range group.Rules {
			if len(rule.Alerts) > 0 {
				fires[rule.Name] = true
			} else {
				rests[rule.Name] = true
			}
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] || !rests[a.Alert] {
			t.Errorf("%s: that it fires is shown: %v; that it does not: %v", a.Alert, fires[a.Alert], rests[a.Alert])
		}
		if a.Labels.Severity == "" || a.Annotations.Summary == "" {
			t.Errorf("%s lacks a severity or a summary", a.Alert)
		}
	}
}

// A panel is one of dashboard.json.
type panel struct {
	ID      int
	Title   string
	Targets []struct{ Expr string }
}

func panels(t *testing.T) []panel {
	t.Helper()
	var file struct{ Panels []panel }
	if err := json.Unmarshal(read(t, "dashboard.json"), &file); err != nil {
		t.Fatal(err)
	}
	return file.Panels
}

// What Grafana asks Prometheus for is what Prometheus understands.
func TestDashboard_AsksInPromQL(t *testing.T) {
	t.Parallel()
	type rule struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	type group struct {
		Name  string `yaml:"name"`
		Rules []rule `yaml:"rules"`
	}
	variables := strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*")
	all := group{Name: "dashboard"}
	ids := map[int]bool{}
	for _, p := range panels(t) {
		if ids[p.ID] || p.Title == "" || len(p.Targets) == 0 {
			t.Errorf("a panel lacks something: %+v", p)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			all.Rules = append(all.Rules, rule{Record: "panel", Expr: variables.Replace(target.Expr)})
		}
	}
	text, err := yaml.Marshal(map[string][]group{"groups": {all}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, nil, "check", "rules", path)
}

// scrape starts the server and returns its answer to Prometheus.
func scrape(t *testing.T) string {
	t.Helper()
	admin := port.Address(t)
	command.Start(t, "serve", "--listen", port.Address(t), "--admin-listen", admin, "--metrics-channel", "/a", "--log-level", "error")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(time.Minute); ; {
		answer, err := client.Get("http://" + admin + "/metrics")
		if err == nil {
			defer answer.Body.Close()
			text, err := io.ReadAll(answer.Body)
			if err != nil || answer.StatusCode != http.StatusOK {
				t.Fatalf("%d, %v", answer.StatusCode, err)
			}
			return string(text)
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

var (
	usedMetric = regexp.MustCompile(`\b(?:messagebus|process|go)_[a-z_]+`)
	usedLabel  = regexp.MustCompile(`(result|state|reason)=~?"([a-z|]+)"`)
	bucketed   = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// What a server answers is what Prometheus reads, by its own lint; and rules and dashboard ask for
// nothing else, but for caches, which a server has not.
func TestServer_AnswersWhatRulesAndDashboardAskFor(t *testing.T) {
	t.Parallel()
	text := scrape(t)
	promtool(t, bytes.NewBufferString(text), "check", "metrics")

	there := map[string]bool{}
	labels := map[string]bool{}
	for line := range strings.Lines(text) {
		if name := usedMetric.FindString(line); name != "" && !strings.HasPrefix(line, "#") {
			there[name] = true
		}
		for _, label := range usedLabel.FindAllString(line, -1) {
			labels[label] = true
		}
	}
	byPrometheus, _ := observed(t)
	for _, name := range []string{"cache_entries", "cache_in_doubt", "cache_lookups_total", "cache_stale_total", "cache_undecodable_operations_total"} {
		there["messagebus_"+name] = byPrometheus["messagebus_"+name] != nil
	}
	labels[`result="hit"`] = byPrometheus["messagebus_cache_lookups_total"].values["result"]["hit"]

	asked := map[string]string{}
	for _, a := range alerts(t) {
		asked[a.Expr] = a.Alert
	}
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			asked[target.Expr] = p.Title
		}
	}
	for expression, where := range asked {
		used := usedMetric.FindAllString(expression, -1)
		if len(used) == 0 && !strings.HasPrefix(expression, "up{") {
			t.Errorf("%s asks for nothing: %s", where, expression)
		}
		for _, name := range used {
			if !there[name] {
				t.Errorf("%s asks for %s, which is not there", where, name)
			}
		}
		for _, label := range usedLabel.FindAllStringSubmatch(expression, -1) {
			for value := range strings.SplitSeq(label[2], "|") {
				if !labels[label[1]+`="`+value+`"`] {
					t.Errorf("%s: no %s is %s", where, label[1], value)
				}
			}
		}
	}
	// Each metric of the server is one of the document, and each of the document's is the server's.
	for _, r := range documented(t) {
		if name := r.prometheus; !there[name] && !there[name+"_bucket"] && !strings.HasPrefix(name, "messagebus_cache_") {
			t.Errorf("a server has no %s", name)
		}
		delete(there, r.prometheus)
	}
	for name := range there {
		if name = bucketed.ReplaceAllString(name, ""); strings.HasPrefix(name, "messagebus_") && name != "messagebus_publish_duration_seconds" {
			t.Errorf("%s is not in the document", name)
		}
	}
}
