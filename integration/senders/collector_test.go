package senders_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const collectorLines = 3000

// TestCollector: the OpenTelemetry Collector follows a file, with its queue on disk, and is killed.
func TestCollector(t *testing.T) {
	p := &program{t: t, path: buildCollector(t)}
	tr := newTrial(t)
	dir := t.TempDir()
	input, config := filepath.Join(dir, "app.log"), filepath.Join(dir, "config.yaml")
	line := newLog(t, input)
	text := strings.NewReplacer("/var/log/app.log", input, "/var/lib/otelcol", filepath.Join(dir, "storage")).Replace(tr.configuration("collector"))
	text += "  telemetry: {metrics: {level: none}, logs: {disable_stacktrace: true}}\n" // else it listens
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, args, _ := strings.Cut(tr.configuration("otelcol"), "otelcol ")
	args = strings.Replace(args, "/etc/otelcol/config.yaml", config, 1)
	start := func() { p.start(strings.Fields(args)...) }
	start()
	tr.feed(collectorLines, func(n int) error { return line(mark(n)) }, func() { p.kill(); start() })
	tr.finish(outcome{Sender: "OpenTelemetry Collector, filelog", Version: collectorVersion(t), Protocol: "OTLP protobuf", Restarts: 1}, collectorLines)
	p.stop()
}

// buildCollector builds the Collector; without its modules the test is skipped.
func buildCollector(t *testing.T) string {
	t.Helper()
	download := exec.CommandContext(t.Context(), "go", "list", "-deps", ".") // brings what the build needs, and no more
	download.Dir = "collector"
	if out, err := download.CombinedOutput(); err != nil {
		t.Skipf("skipped: the Collector's modules cannot be had: %v: %.500s", err, out)
	}
	path := filepath.Join(t.TempDir(), "collector")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", path, ".")
	build.Dir, build.Env = "collector", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	return path
}

// collectorVersion is the release that the Collector is built of.
func collectorVersion(t *testing.T) string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", "go.opentelemetry.io/collector/otelcol")
	list.Dir = "collector"
	version, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(version))
}
