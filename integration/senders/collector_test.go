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
	p := &program{t: t, path: buildModule(t, "collector")}
	tr := newPageTrial(t)
	dir := t.TempDir()
	input, config := filepath.Join(dir, "app.log"), filepath.Join(dir, "config.yaml")
	line := newLog(t, input)
	text := strings.NewReplacer("/var/log/app.log", input, "/var/lib/otelcol", filepath.Join(dir, "storage")).Replace(tr.configuration("collector"))
	text += "  telemetry: {metrics: {level: none}, logs: {disable_stacktrace: true}}\n" // else it listens
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, args, _ := strings.Cut(tr.configuration("otelcol"), "otelcol-contrib ")
	args = strings.Replace(args, "/etc/otelcol/config.yaml", config, 1)
	start := func() { p.start(strings.Fields(args)...) }
	start()
	tr.feed(collectorLines, func(n int) error { return line(mark(n)) }, func() { p.kill(); start() })
	tr.finish(outcome{Sender: "OpenTelemetry Collector, filelog", Version: versionIn(t, "collector", "go.opentelemetry.io/collector/otelcol"), Protocol: "OTLP protobuf", Restarts: 1}, collectorLines)
	p.stop()
}

// buildModule builds a program that is a module of its own; without its modules the test skips.
func buildModule(t *testing.T, dir string) string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", ".") // brings what the build needs, and no more
	list.Dir = dir
	if out, err := list.CombinedOutput(); err != nil {
		t.Skipf("skipped: the modules of %s cannot be had: %v: %.500s", dir, err, out)
	}
	path := filepath.Join(t.TempDir(), dir)
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", path, ".")
	build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	return path
}

// versionIn is the version of a module that such a program is built of.
func versionIn(t *testing.T, dir, module string) string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", module)
	list.Dir = dir
	version, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(version))
}
