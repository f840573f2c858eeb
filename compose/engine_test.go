package compose_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"sekali/bench/system/ports"
)

// engine is the docker command; compose is `docker compose` or docker-compose.
type engine struct{ compose []string }

// findEngine skips the test where no engine or no Compose answers.
func findEngine(t *testing.T) engine {
	if os.Getenv("SEKALI_COMPOSE_TEST") == "" {
		t.Skip("skipped: builds images for minutes; `make compose-test` runs it")
	}
	var e engine
	if out, err := e.try(time.Minute, "version", "--format", "{{.Server.Version}}"); err != nil {
		t.Skipf("skipped: no Docker engine answers: %v: %s", err, lastLine(out))
	}
	for _, compose := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if err := exec.Command(compose[0], append(compose[1:], "version")...).Run(); err == nil {
			e.compose = compose
			return e
		}
	}
	t.Skip("skipped: neither `docker compose` nor docker-compose is installed")
	return e
}

func (engine) command(args ...string) *exec.Cmd { return exec.Command("docker", args...) }

func (e engine) try(timeout time.Duration, args ...string) (string, error) {
	return runBounded(e.command(args...), timeout)
}

func (e engine) must(t *testing.T, timeout time.Duration, args ...string) string {
	t.Helper()
	out, err := e.try(timeout, args...)
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// runBounded runs the command, returns both of its outputs, and kills it after the timeout.
func runBounded(command *exec.Cmd, timeout time.Duration) (string, error) {
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	// Grandchildren may hold the pipe open after the kill.
	command.WaitDelay = 5 * time.Second
	if err := command.Start(); err != nil {
		return "", err
	}
	timer := time.AfterFunc(timeout, func() { command.Process.Kill() })
	defer timer.Stop()
	err := command.Wait()
	return strings.TrimSpace(out.String()), err
}

// stack is one project of docker-compose.yml: its own containers, network, volumes and images.
type stack struct {
	engine
	project string
	port    int // of the aggregator, on 127.0.0.1
	// metricsPort is that of its metrics, likewise.
	metricsPort int
	environ     []string
}

// newStack names a project that nobody else uses; everything of it is removed at the end.
func newStack(t *testing.T, docker engine, image string) *stack {
	s := &stack{engine: docker, project: fmt.Sprintf("sekali-test-%d", os.Getpid()), port: holdPort(t), metricsPort: holdPort(t)}
	s.environ = append(os.Environ(), "SEKALI_GO_IMAGE="+image, fmt.Sprintf("SEKALI_PORT=%d", s.port),
		fmt.Sprintf("SEKALI_METRICS_PORT=%d", s.metricsPort), "SEKALI_VERSION=compose-test")
	t.Cleanup(func() {
		if t.Failed() {
			logs, _ := s.tryCompose(time.Minute, "logs", "--no-color", "--tail", "50")
			t.Log(logs)
		}
		if out, err := s.tryCompose(2*time.Minute, "--profile", "single", "--profile", "bench", "--profile", "cluster", "down", "--volumes", "--rmi", "local", "--remove-orphans"); err != nil {
			t.Errorf("down: %v\n%s", err, out)
		}
		// What the engine's old builder leaves of stages that nobody asked for; BuildKit leaves nothing.
		const title = "org.opencontainers.image.title="
		for _, label := range []string{"sekali.stage=build", title + "sekali log", title + "sekali bench", title + "sekali loadgen"} {
			s.must(t, time.Minute, "image", "prune", "--force", "--filter", "label="+label)
		}
		for _, kind := range []string{"volume", "network"} {
			if left := s.must(t, time.Minute, kind, "ls", "--quiet", "--filter", "name="+s.project); left != "" {
				t.Errorf("down left the %s %s", kind, left)
			}
		}
	})
	return s
}

// holdPort is a port that is ours until the test ends: the engine cannot be asked for one that
// survives a restart.
func holdPort(t *testing.T) int {
	held, err := ports.Hold(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(held.Release)
	address, err := net.ResolveTCPAddr("tcp", held.Addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	return address.Port
}

func (s *stack) composeCommand(args ...string) *exec.Cmd {
	args = append([]string{"--project-name", s.project}, args...)
	command := exec.Command(s.compose[0], append(s.compose[1:], args...)...)
	command.Dir, command.Env = repository, s.environ
	return command
}

func (s *stack) tryCompose(timeout time.Duration, args ...string) (string, error) {
	return runBounded(s.composeCommand(args...), timeout)
}

func (s *stack) mustCompose(t *testing.T, timeout time.Duration, args ...string) string {
	t.Helper()
	out, err := s.tryCompose(timeout, args...)
	if err != nil {
		t.Fatalf("compose %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// inspect returns what a Go template finds in the aggregator's container.
func (s *stack) inspect(t *testing.T, template string) string {
	t.Helper()
	return s.must(t, time.Minute, "inspect", "--format", template, s.container(t))
}

// container is the id of the aggregator's container, running or not.
func (s *stack) container(t *testing.T) string {
	t.Helper()
	return lastLine(s.mustCompose(t, time.Minute, "ps", "--all", "--quiet", "aggregator"))
}

// made are the services that have a container, running or not, in the order of their names.
func (s *stack) made(t *testing.T) string {
	t.Helper()
	names := strings.Fields(s.must(t, time.Minute, "ps", "--all", "--filter", "label=com.docker.compose.project="+s.project, "--format", `{{.Label "com.docker.compose.service"}}`))
	slices.Sort(names)
	return strings.Join(slices.Compact(names), " ")
}

// waitHealthy waits for the image's own health check.
func (s *stack) waitHealthy(t *testing.T) {
	t.Helper()
	var health string
	for deadline := time.Now().Add(healthyTimeout); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if health = s.inspect(t, "{{.State.Health.Status}}"); health == "healthy" {
			return
		}
	}
	t.Fatalf("the aggregator is %s after %v", health, healthyTimeout)
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
