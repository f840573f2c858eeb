package compose_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The stages of the Dockerfile that compile lie before the first image. In their place the test of
// a cluster has what this host's Go has compiled, in its own cache: an engine compiles all anew,
// for a quarter of an hour beside other work. TestCompose has the engine do it.
const (
	firstImage = "FROM scratch AS log\n"
	prebuilt   = "FROM scratch AS build\nLABEL sekali.stage=build\nCOPY out /out\nCOPY volumes /volumes\nFROM build AS build-log\n\n"
)

// prebuild compiles the programs and returns a file of Compose that has the services built of them.
func prebuild(t *testing.T, services ...string) string {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join(repository, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	_, images, found := strings.Cut(string(text), firstImage)
	if !found {
		t.Fatalf("the Dockerfile has no %q", firstImage)
	}
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(prebuilt+firstImage+images), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"volumes/data", "volumes/results", "volumes/log", "scenarios"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for at, packages := range map[string][]string{
		repository:                 {"./cmd/aggregator", "./cmd/loadgen", "./cmd/bench"},
		repository + "/sekali-log": {"."},
	} {
		build := exec.Command("go", append([]string{"build", "-trimpath", "-o", filepath.Join(dir, "out") + "/"}, packages...)...)
		build.Dir, build.Env = at, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := runBounded(build, buildTimeout); err != nil {
			t.Fatalf("%v: %v\n%s", build, err, out)
		}
	}
	override := "services:\n"
	for _, service := range services {
		override += fmt.Sprintf("  %s: {build: {context: %q}}\n", service, dir)
	}
	path := filepath.Join(dir, "override.yml")
	if err := os.WriteFile(path, []byte(override), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
