package completion

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sekali/internal/settings"
)

// example is a program with a flag of each kind.
var example = Program{
	Name:     "prog",
	Commands: []Command{{}, {Name: "send", Summary: "it's [one] `of`: two"}, {Name: "group", Words: []string{"join", "leave"}}},
	Help: func(command string, w io.Writer) {
		flags := flag.NewFlagSet(command, flag.ContinueOnError)
		switch command {
		case "":
			flags.String("ack", "", "`level` for requests: memory, journal, store")
			flags.String("layout", "", "how it lies: blocks or rows; fixed")
			flags.String("data", "", "the `folder`")
			flags.Bool("insecure", false, "don't [ask]: \\ for it")
		case "group":
			flags.String("with", "", "`name`")
		case "send":
			flags.String("input", "", "`file` to send")
			flags.Int("max-count", 0, "how many: one, or more of them")
			flags.String("level", "", "debug, info (default: info)")
		}
		settings.Help(w, "usage", flags)
	},
}

func script(t *testing.T, shell string) string {
	t.Helper()
	var stdout, stderr strings.Builder
	if code := Run(example, []string{shell}, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
		t.Fatalf("exit %d, %q", code, stderr.String())
	}
	return stdout.String()
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
	}{{"", 2}, {"tcsh", 2}, {"bash zsh", 2}, {"-h", 0}, {"--help", 0}} {
		var stdout, stderr strings.Builder
		code := Run(example, strings.Fields(c.args), &stdout, &stderr)
		if code != c.code || stdout.String()+stderr.String() != "usage: prog completion bash|zsh|fish\n" || (stdout.Len() > 0) != (code == 0) {
			t.Errorf("%q: exit %d, %q, %q", c.args, code, stdout.String(), stderr.String())
		}
	}
}

// TestBash asks bash what it would complete, in a folder with a file and a folder.
func TestBash(t *testing.T) {
	shell, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("skipped: there is no bash")
	}
	dir := t.TempDir()
	for _, err := range []error{
		os.WriteFile(filepath.Join(dir, "prog.bash"), []byte(script(t, "bash")), 0o600),
		os.WriteFile(filepath.Join(dir, "a file"), nil, 0o600), os.Mkdir(filepath.Join(dir, "a folder"), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for line, want := range map[string]string{
		"prog|group|":             "join|leave|-with",
		"prog|":                   "send|group|completion|-ack|-data|-insecure|-layout",
		"prog|se":                 "send",
		"prog|-i":                 "-insecure",
		"prog|--i":                "--insecure",
		"prog|-ack|":              "memory|journal|store",
		"prog|--ack|j":            "journal",
		"prog|-ack|=|j":           "journal", // as bash splits -ack=j
		"prog|-ack|=":             "memory|journal|store",
		"prog|-layout|":           "blocks|rows",
		"prog|-data|a":            "a folder",
		"prog|-insecure|-l":       "-layout",
		"prog|send|":              "-input|-level|-max-count",
		"prog|send|--m":           "--max-count",
		"prog|send|-input|a":      "a file|a folder",
		"prog|send|-max-count|":   "",
		"prog|send|-level|":       "debug|info",
		"prog|send|-ack|":         "-input|-level|-max-count", // a flag of another command
		"prog|completion|":        "bash|zsh|fish",
		"prog|-insecure|-data|no": "",
	} {
		words := strings.Split(line, "|")
		command := exec.Command(shell, "--norc", "-c", `source ./prog.bash
			COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sekali_prog; printf '%s\n' "${COMPREPLY[@]}"`, "bash")
		command.Args = append(command.Args, words...)
		command.Dir = dir
		out, err := command.CombinedOutput()
		got := strings.Split(strings.TrimSpace(string(out)), "\n")
		expected := strings.Split(want, "|")
		slices.Sort(got)
		slices.Sort(expected)
		if err != nil || !slices.Equal(got, expected) {
			t.Errorf("%s: %q, %v, want %q", line, got, err, expected)
		}
	}
}

// TestSyntax: each shell that is here takes what is written for it.
func TestSyntax(t *testing.T) {
	for _, name := range Shells {
		file := filepath.Join(t.TempDir(), "_prog")
		if err := os.WriteFile(file, []byte(script(t, name)), 0o600); err != nil {
			t.Fatal(err)
		}
		shell, err := exec.LookPath(name)
		if err != nil {
			t.Logf("skipped: there is no %s", name)
			continue
		}
		if out, err := exec.Command(shell, "-n", file).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s -n: %v\n%s", name, err, out)
		}
	}
}

// TestFish asks fish, which can complete a line by itself.
func TestFish(t *testing.T) {
	shell, err := exec.LookPath("fish")
	if err != nil {
		t.Skip("skipped: there is no fish")
	}
	file := filepath.Join(t.TempDir(), "prog.fish")
	if err := os.WriteFile(file, []byte(script(t, "fish")), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"prog se":         "send",
		"prog -ack ":      "journal memory store",
		"prog send -m":    "-max-count",
		"prog -ins":       "-insecure",
		"prog completion": "completion",
	} {
		out, err := exec.Command(shell, "--no-config", "-c", fmt.Sprintf("source %s; complete -C %q", file, line)).Output()
		var got []string
		for word := range strings.Lines(string(out)) {
			got = append(got, strings.TrimSpace(strings.SplitN(word, "\t", 2)[0]))
		}
		slices.Sort(got)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, %v, want %q", line, got, err, want)
		}
	}
}
