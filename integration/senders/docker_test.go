package senders_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	dockerLines = 3000
	dockerImage = "sekali-senders-printer"
	// dockerPosts is a little more than the driver's pause between two posts.
	dockerPosts = 6 * time.Second
)

// TestDocker: Docker's splunk driver sends what two containers print, one after the other. The
// aggregator is killed while each runs.
func TestDocker(t *testing.T) {
	version := dockerVersion(t)
	tr := newPageTrial(t)
	tr.loseEvery = 2 // it posts each 5 s
	buildPrinter(t)
	_, options, found := strings.Cut(strings.TrimSuffix(strings.TrimSpace(tr.configuration("docker")), " IMAGE"), "docker run ")
	if !found {
		t.Fatalf("%s shows no docker run", page)
	}
	for _, half := range [][2]string{{"0", "1500"}, {"1500", "3000"}} {
		args := append([]string{"run", "--detach", "--rm"}, strings.Fields(options)...)
		id := strings.TrimSpace(docker(t, append(args, dockerImage, half[0], half[1])...))
		t.Cleanup(func() { _ = exec.Command("docker", "rm", "--force", id).Run() }) // it may be gone
		time.Sleep(dockerPosts / 2)
		tr.kill()
		// Stopped, the driver tries what it has left once.
		want := dockerLines / 2
		if half[0] != "0" {
			want = dockerLines
		}
		tr.waitStored(want)
		time.Sleep(dockerPosts) // it repeats what was stored, and its answer lost
		docker(t, "stop", id)
	}
	tr.finish(outcome{Sender: "Docker's splunk driver", Version: version, Protocol: "Splunk HEC", Restarts: 1}, dockerLines)
}

// dockerVersion is the engine's; the test is skipped without one.
func dockerVersion(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", "version", "--format", "{{.Server.Version}}").CombinedOutput()
	if err != nil {
		t.Skipf("skipped: no Docker engine: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "docker", args...)
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %v", command, err)
	}
	return string(out)
}

// buildPrinter makes an image of a static program and nothing else.
func buildPrinter(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(dir, "printer"), "./printer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\nCOPY printer /\nENTRYPOINT [\"/printer\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	docker(t, "build", "--quiet", "--tag", dockerImage, dir)
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", "--force", dockerImage).Run() }) // what is left is small
}
