package integration_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// scrape is /metrics of an aggregator that has stored, dropped, rejected and refused something.
func scrape(t *testing.T) []byte {
	t.Helper()
	a := start(t, dataFolder(t))
	for range 2 {
		a.mustPublish(t, []byte("["+oneEvent("e")+`,{"topic":"t"}]`), "store")
	}
	a.mustPublish(t, requestBody(0), "journal")
	if _, err := a.get("/nothing", ""); err == nil {
		t.Fatal("/nothing is served")
	}
	a.drained(t)
	answer, err := a.client.Get(a.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", answer.Status, err)
	}
	return text
}

var (
	typed      = regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`)
	documented = regexp.MustCompile("(?m)^\\| `(sekali_\\w+)` \\| (\\w+) \\|")
	ofCluster  = regexp.MustCompile(`"(sekali_cluster_[a-z_]+)"`)
	used       = regexp.MustCompile(`\b(?:sekali|process|go)_[a-z_]+\b`)
)

// TestMetrics: what is served is well-formed, the reference has every name with its type, and the
// dashboard and the alerts name nothing else.
func TestMetrics(t *testing.T) {
	text := scrape(t)
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	for _, want := range []string{
		`sekali_processing_latency_seconds_count 22`, `sekali_event_rejections_total{reason="missing_field"} 2`,
		`sekali_refused_requests_total{reason="not_found"} 1`, `sekali_http_request_duration_seconds_count{code="200",endpoint="/publish"} 2`,
		`sekali_http_request_duration_seconds_count{code="202",endpoint="/publish"} 1`, `sekali_batch_events_bucket{le="+Inf"} `, `sekali_build_info{goversion="go`,
	} {
		if !strings.Contains(string(text), "\n"+want) {
			t.Errorf("there is no %s", want)
		}
	}
	served, series := map[string]string{}, map[string]bool{}
	for _, m := range typed.FindAllStringSubmatch(string(text), -1) {
		served[m[1]], series[m[1]] = m[2], true
		if m[2] == "histogram" {
			series[m[1]+"_bucket"], series[m[1]+"_sum"], series[m[1]+"_count"] = true, true, true
		}
	}
	page := read(t, "../docs/reference/metrics.md")
	rows := map[string]string{}
	for _, m := range documented.FindAllStringSubmatch(page, -1) {
		rows[m[1]] = m[2]
		if served[m[1]] != m[2] {
			t.Errorf("metrics.md has %s as a %s, served is %q", m[1], m[2], served[m[1]])
		}
	}
	for name := range served {
		if strings.HasPrefix(name, "sekali_") && rows[name] == "" {
			t.Errorf("metrics.md lacks %s", name)
		}
	}
	howto := read(t, "../docs/howto/cluster.md")
	for _, m := range ofCluster.FindAllStringSubmatch(read(t, "../aggregator/metrics.go"), -1) {
		if series[m[1]] = true; !strings.Contains(howto, "`"+m[1]) {
			t.Errorf("howto/cluster.md lacks %s", m[1])
		}
	}
	for _, file := range []string{"../ops/grafana.json", "../ops/alerts.yml", "../docs/howto/cluster.md"} {
		names := used.FindAllString(read(t, file), -1)
		if len(names) < 5 {
			t.Errorf("%s names %d metrics", file, len(names))
		}
		for _, name := range names {
			if !series[name] {
				t.Errorf("%s names %s, which is not served", file, name)
			}
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPromtool: Prometheus' own tool takes the metrics and the rules.
func TestPromtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("skipped: there is no promtool (package prometheus)")
	}
	check := exec.Command(tool, "check", "metrics")
	check.Stdin = bytes.NewReader(scrape(t))
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	if out, err := exec.Command(tool, "check", "rules", "../ops/alerts.yml").CombinedOutput(); err != nil || !strings.Contains(string(out), "11 rules found") {
		t.Errorf("promtool check rules: %v\n%s", err, out)
	}
}

// TestStagesAreServed: the admin port has the table of stages.
func TestStagesAreServed(t *testing.T) {
	a := start(t, dataFolder(t))
	answer, err := a.client.Get(a.Admin + "/debug/stages")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var table struct {
		Stages    []string
		Functions []struct{ Prefix, Stage string }
	}
	if err := json.NewDecoder(answer.Body).Decode(&table); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", answer.Status, err)
	}
	if !slices.Contains(table.Stages, "commit") || len(table.Functions) == 0 {
		t.Errorf("%+v", table)
	}
}
