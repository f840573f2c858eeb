// Package docs_test runs what the documents tell a reader to type.
package docs_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekali/bench/system/ports"
	"sekali/internal/programs"
)

// pageTime bounds what one page's commands may take. The tutorial takes one minute on an idle
// machine, and took over four where other work kept the cores busy.
const pageTime = 8 * time.Minute

// block is the commands of one fence: ```sh is run, ```sh norun is only checked to exist.
type block struct {
	run   bool
	lines []string
}

var fence = regexp.MustCompile("(?ms)^```sh( norun)?\n(.*?)^```$")

func blocks(t *testing.T, page string) []block {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var all []block
	for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
		all = append(all, block{m[1] == "", strings.Split(strings.TrimRight(m[2], "\n"), "\n")})
	}
	return all
}

// pages are README and what it leads to. The pages of senders have tests of their own.
func pages(t *testing.T) []string {
	t.Helper()
	all := []string{"../README.md", "../CONTRIBUTING.md", "../SECURITY.md"}
	for _, pattern := range []string{"*.md", "*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

// bin is the folder of the programs, built once and only read afterwards.
var bin string

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	if bin, err = os.MkdirTemp("", "sekali-docs-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(bin)
	if err := programs.Build(bin+"/", "", "aggregator", "loadgen", "bench"); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// prelude stands in for make: `make build` has happened, and a busy machine's INVALID run (3) is no
// failure of a document.
const prelude = `set -em
make() {
	case "$1" in
	build) ;;
	bench)
		shift; scenario=smoke; repeat=1
		for word; do case "$word" in SCENARIO=*) scenario=${word#SCENARIO=} ;; REPEAT=*) repeat=${word#REPEAT=} ;; esac; done
		bin/bench run -scenario "$scenario" -repeat "$repeat" || test $? = 3 ;;
	*) echo "make $1 is not for a test: mark its block norun" >&2; return 1 ;;
	esac
}
trap 'kill -9 $(jobs -p) 2>/dev/null || :' EXIT
`

// TestCommandsOfThePages runs the commands of each page in order, in an empty folder.
func TestCommandsOfThePages(t *testing.T) {
	shell, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("skipped: there is no bash")
	}
	for _, page := range pages(t) {
		var script, expected strings.Builder
		needs := map[string]bool{}
		for _, b := range blocks(t, page) {
			if !b.run {
				continue
			}
			for _, line := range b.lines {
				script.WriteString(line + "\n")
				if answer, ok := strings.CutPrefix(line, "# "); ok {
					expected.WriteString(strings.TrimSpace(regexp.MustCompile(`^\d{3} `).ReplaceAllString(answer, "")) + "\n")
				}
				for _, tool := range []string{"curl", "sqlite3"} {
					if strings.HasPrefix(line, tool+" ") {
						needs[tool] = true
					}
				}
			}
		}
		if script.Len() == 0 {
			continue
		}
		t.Run(strings.TrimPrefix(page, "../"), func(t *testing.T) {
			t.Parallel()
			for tool := range needs {
				if _, err := exec.LookPath(tool); err != nil {
					t.Skipf("skipped: %s is not installed", tool)
				}
			}
			out := runPage(t, shell, script.String())
			for _, want := range strings.Split(strings.TrimSpace(expected.String()), "\n") {
				if !strings.Contains(out, want) {
					t.Errorf("the page says that %q is answered:\n%s", want, out)
				}
			}
		})
	}
}

// runPage runs the commands on ports of their own and returns what they print.
func runPage(t *testing.T, shell, script string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(bin, filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	copyScenarios(t, filepath.Join(dir, "scenarios"))
	held, err := ports.Hold(2)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	api, admin := held.Addresses[0], held.Addresses[1]
	script = strings.NewReplacer("127.0.0.1:8080", api, "localhost:8080", api, "127.0.0.1:8081", admin).Replace(script)
	ctx, cancel := context.WithTimeout(t.Context(), pageTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, shell, "-c", prelude+script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SEKALI_LISTEN="+api, "SEKALI_ADMIN="+admin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	endGroup(cmd.Process)
	if err != nil {
		t.Fatalf("%v\n%s\n--- the commands:\n%s", err, out.String(), script)
	}
	return out.String()
}

// copyScenarios copies those of the lab, and makes kill shorter: without the case of plain events,
// which integration kills as well, and with a burst that ends soon after the kill.
func copyScenarios(t *testing.T, dir string) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS("../scenarios")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "kill.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	kill := string(text)
	for _, change := range [][2]string{
		{"{name: burst, rate: 700/s, duration: 1s,", "{name: burst, rate: 700/s, duration: 500ms,"},
		{"at: 3200ms", "at: 2900ms"},
		{"  - {name: plain, aggregator: {ack: journal}, stream: {shape: plain}}\n", ""},
	} {
		if !strings.Contains(kill, change[0]) {
			t.Fatalf("kill.yaml has no %q: make it shorter otherwise", change[0])
		}
		kill = strings.Replace(kill, change[0], change[1], 1)
	}
	if err := os.WriteFile(file, []byte(kill), 0o644); err != nil {
		t.Fatal(err)
	}
}

// endGroup kills what a page's commands left, and waits until it has ended: it writes to the folder
// that is removed next.
func endGroup(leader *os.Process) {
	if leader == nil {
		return // it was never started
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err := syscall.Kill(-leader.Pid, syscall.SIGKILL); err != nil {
			return // nobody is left
		}
	}
}

// TestNamesInThePages: make targets, subcommands and flags that the documents name are there.
func TestNamesInThePages(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	help := map[string]string{}
	for _, page := range pages(t) {
		for _, b := range blocks(t, page) {
			for _, line := range b.lines {
				if err := checkLine(string(makefile), help, line); err != nil {
					t.Errorf("%s: %q: %v", page, line, err)
				}
			}
		}
	}
}

var (
	target   = regexp.MustCompile(`(?:^|&& )make (?:-s )?([a-z-]+)`)
	program  = regexp.MustCompile(`^(?:sudo )?bin/(aggregator|loadgen|bench)((?: [a-z][a-z-]*)?)(.*)$`)
	oneFlag  = regexp.MustCompile(` (--?[a-z][a-z0-9-]*)`)
	comments = regexp.MustCompile(`\s+#.*$`)
)

// checkLine looks a command's names up in the Makefile and in the program's own help, which it
// keeps in help.
func checkLine(makefile string, help map[string]string, line string) error {
	line = comments.ReplaceAllString(line, "")
	for _, m := range target.FindAllStringSubmatch(line, -1) {
		if !regexp.MustCompile(`(?m)^` + m[1] + `:`).MatchString(makefile) {
			return fmt.Errorf("there is no target %s", m[1])
		}
	}
	m := program.FindStringSubmatch(line)
	if m == nil {
		return nil
	}
	args := append(strings.Fields(m[2]), "-h")
	key := m[1] + m[2]
	if help[key] == "" {
		out, err := exec.Command(filepath.Join(bin, m[1]), args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s %s: %w: %s", m[1], strings.Join(args, " "), err, out)
		}
		help[key] = string(out)
	}
	for _, f := range oneFlag.FindAllStringSubmatch(m[3], -1) {
		name := "-" + strings.TrimLeft(f[1], "-")
		if !regexp.MustCompile(`(?m)(^|\s|,)-?` + regexp.QuoteMeta(name) + `\b`).MatchString(help[key]) {
			return fmt.Errorf("%s has no flag %s", key, name)
		}
	}
	return nil
}

// TestPagesAreShort: what a reader opens first is not longer than people read.
func TestPagesAreShort(t *testing.T) {
	for page, most := range map[string]int{"../README.md": 120, "../ARCHITECTURE.md": 200, "../REPORT.md": 200} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if lines := bytes.Count(text, []byte("\n")); lines > most {
			t.Errorf("%s has %d lines; people read %d", page, lines, most)
		}
	}
}
