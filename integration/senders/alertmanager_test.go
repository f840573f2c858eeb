package senders_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekali/bench/system/ports"
)

const (
	alerts = 300
	// resendPeriod is how often alerts are said again, as Prometheus does while they fire.
	resendPeriod = time.Second
)

// TestAlertmanager: Alertmanager sends a notification for each alert to its webhook. It is given
// the alerts, and given them again, as Prometheus would.
func TestAlertmanager(t *testing.T) {
	p := findProgram(t, "prometheus-alertmanager", "usr/bin/prometheus-alertmanager")
	if template := "/usr/share/prometheus/alertmanager/default.tmpl"; !isFile(template) {
		t.Skipf("skipped: there is no %s, which Debian's Alertmanager reads", template)
	}
	tr := newPageTrial(t)
	held, err := ports.Hold(1)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	dir, address := t.TempDir(), held.Addresses[0]
	config := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(config, []byte(tr.configuration("alertmanager")), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func() {
		p.start("--config.file="+config, "--storage.path="+filepath.Join(dir, "data"), "--web.listen-address="+address,
			"--cluster.listen-address=", "--log.level=error")
		waitAnswer(t, "http://"+address+"/-/ready")
	}
	start()
	begin := time.Now().UTC()
	var all []any
	last := time.Now()
	give := func(n int) error {
		one := map[string]any{
			"labels": map[string]string{"alertname": "trial", "n": mark(n)}, "startsAt": begin.Add(time.Duration(n) * time.Millisecond), "endsAt": begin.Add(time.Hour),
		}
		all = append(all, one)
		if time.Since(last) > resendPeriod {
			last = time.Now()
			return postJSON("http://"+address+"/api/v2/alerts", all)
		}
		return postJSON("http://"+address+"/api/v2/alerts", []any{one})
	}
	tr.feed(alerts, func(n int) error {
		time.Sleep(5 * time.Millisecond) // so that some are sent in each part
		return give(n)
	}, func() { p.stop(); start() })
	for deadline := time.Now().Add(storedTimeout); time.Now().Before(deadline); time.Sleep(resendPeriod) {
		if err := postJSON("http://"+address+"/api/v2/alerts", all); err != nil {
			t.Fatal(err)
		}
		if c, err := tr.counters(); err != nil || c.Unique >= alerts {
			break
		}
	}
	tr.finish(outcome{Sender: "Prometheus Alertmanager", Version: p.version("--version"), Protocol: "JSON to /ingest", Restarts: 1}, alerts)
	p.stop()
}

// TestPromtool: what Prometheus' own tool says of the alerts and of /metrics.
func TestPromtool(t *testing.T) {
	p := findProgram(t, "promtool", "usr/bin/promtool")
	tr := newTrial(t)
	check := func(stdin string, args ...string) {
		t.Helper()
		command := p.run(append([]string{"check"}, args...)...)
		command.Stdin = strings.NewReader(stdin)
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("promtool check %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	check("", "rules", "../../ops/alerts.yml")
	answer, err := http.Get(tr.p.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(answer.Body); err != nil || !strings.Contains(text.String(), "sekali_received_events_total") {
		t.Fatalf("%v: %s", err, text.String())
	}
	check(text.String(), "metrics")
}

// waitAnswer waits until a server answers 200.
func waitAnswer(t *testing.T, url string) {
	t.Helper()
	for deadline := time.Now().Add(readyTimeout); ; time.Sleep(pollPeriod) {
		answer, err := http.Get(url)
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", url, err)
		}
	}
}

func postJSON(url string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	answer, err := http.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s: %s", url, answer.Status)
	}
	return nil
}
