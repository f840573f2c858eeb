package docs_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write reference/commands.md anew from what -h says")

const (
	commandsPage = "reference/commands.md"
	// commandsMade is the line below which the page is what -h says.
	commandsMade = "<!-- From here on: go test ./docs -run Reference -update -->\n"
)

// command is what one says of itself: the program alone has no name.
type command struct {
	program, name string
	summary       string
	usage         []string // lines without the program's folder
	flags         []commandFlag
	exits         [4]string // by code
}

type commandFlag struct{ name, value, byDefault, meaning string }

func (c command) String() string { return strings.TrimSpace(c.program + " " + c.name) }

var (
	// lists are the lines of a program's -h that name its commands, with what each does.
	lists = map[string]*regexp.Regexp{
		"aggregator": regexp.MustCompile(`(?m)^ +aggregator ([a-z][a-z-]+)[^\n]*?(?:   *([^\n]*))?$`),
		"loadgen":    regexp.MustCompile(`(?m)^(?:Usage:| +) *loadgen ([a-z]+)[^\n]*?(?:   *([^\n]*))?$`),
		"bench":      regexp.MustCompile(`(?m)^  ([a-z][a-z-]+) +([^\n]*)$`),
	}
	usageLine = regexp.MustCompile(`(?m)^(?:[Uu]sage:)? *((?:aggregator|loadgen|bench) [^\n]*)$`)
	exitLine  = regexp.MustCompile("Exit (0: [^\"`\n\\\\]*)")
	exitCode  = regexp.MustCompile(`(?:^| )([0-3]): `)
	helpEntry = regexp.MustCompile(`(?m)^  -([a-z][a-z-]*)(?: ([^\n\t]+))?(?:\n    )?\t([^\n]*)$`)
	ofDefault = regexp.MustCompile(` \(default:? ([^()]*)\)$`)
	literal   = regexp.MustCompile(`^"(.*)"$|^([0-9.]+[a-z0-9]*)$`)
	namesFlag = regexp.MustCompile(`(^|[ (])(-[a-z][a-z-]*[a-z])`)
)

// TestReferenceOfCommands: the reference has every command of the programs with its flags and exit
// codes, as its -h has them.
func TestReferenceOfCommands(t *testing.T) {
	var all []command
	for _, program := range []string{"aggregator", "loadgen", "bench"} {
		all = append(all, commandsOf(t, program)...)
	}
	for _, file := range []string{"../sekali-log/main.go", "../bench/yardsticks/main.go"} {
		source, err := os.ReadFile(file) // a module of its own, which is not built here
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, command{program: filepath.Base(filepath.Dir(file)), exits: exitsOf(t, file, string(source))})
	}
	page, err := os.ReadFile(commandsPage)
	if err != nil {
		t.Fatal(err)
	}
	before, _, found := strings.Cut(string(page), commandsMade)
	want := before + commandsMade + exitTable(all) + sections(t, all)
	if *update && found {
		if err := os.WriteFile(commandsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(page) {
		t.Errorf("%s is not what -h says: go test ./docs -run Reference -update writes it", commandsPage)
	}
}

// commandsOf asks a program for its commands, and each for its help.
func commandsOf(t *testing.T, program string) []command {
	t.Helper()
	help := func(args ...string) string {
		command := exec.Command(filepath.Join(bin, program), args...)
		command.Env = []string{} // a default may come from there
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v: %s", program, args, err, out)
		}
		return string(out)
	}
	whole := help("-h")
	var all []command
	if program == "aggregator" { // which does something without a command; flags.md has its flags
		all = append(all, command{program: program, exits: exitsOf(t, program, whole)})
	}
	seen := map[string]bool{"completion": true}
	for _, m := range lists[program].FindAllStringSubmatch(whole, -1) {
		if seen[m[1]] {
			continue
		}
		seen[m[1]] = true
		text := help(m[1], "-h")
		c := command{program: program, name: m[1], summary: strings.TrimSpace(m[2]), exits: exitsOf(t, program+" "+m[1], text)}
		for _, line := range usageLine.FindAllStringSubmatch(text, -1) {
			c.usage = append(c.usage, line[1])
		}
		for _, entry := range helpEntry.FindAllStringSubmatch(text, -1) {
			c.flags = append(c.flags, flagOf(entry[1], entry[2], entry[3]))
		}
		if len(c.usage) == 0 || len(c.flags) != len(helpFlag.FindAllString(text, -1)) {
			t.Errorf("%s: its help is not understood:\n%s", c, text)
		}
		all = append(all, c)
	}
	if len(all) < 2 {
		t.Fatalf("%s: its commands are not found in:\n%s", program, whole)
	}
	return all
}

// flagOf takes the default out of a flag's line of help.
func flagOf(name, value, meaning string) commandFlag {
	f := commandFlag{name: name, value: value, byDefault: "–", meaning: meaning}
	if m := ofDefault.FindStringSubmatch(meaning); m != nil {
		f.meaning, f.byDefault = strings.TrimSuffix(meaning, m[0]), literal.ReplaceAllString(m[1], "`$1$2`")
	}
	f.meaning = inMarkdown(f.meaning)
	return f
}

// inMarkdown is a text of a help as it stands in a table or in prose.
func inMarkdown(text string) string {
	return namesFlag.ReplaceAllString(strings.NewReplacer("|", `\|`, "<", `\<`).Replace(text), "$1`$2`")
}

func exitsOf(t *testing.T, name, text string) (exits [4]string) {
	t.Helper()
	m := exitLine.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("%s does not say its exit codes", name)
	}
	at := exitCode.FindAllStringSubmatchIndex(m[1], -1)
	for i, one := range at {
		end := len(m[1])
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		exits[m[1][one[2]]-'0'] = strings.TrimSuffix(strings.TrimSpace(m[1][one[1]:end]), ".")
	}
	return exits
}

// exitTable has a row for those that follow each other and say the same.
func exitTable(all []command) string {
	var text strings.Builder
	text.WriteString("\n## Exit codes\n\n| command | 0 | 1 | 2 | 3 |\n|---|---|---|---|---|\n")
	for i := 0; i < len(all); {
		names, first := "`"+all[i].String()+"`", all[i]
		for i++; i < len(all) && all[i].program == first.program && all[i].exits == first.exits; i++ {
			names += ", `" + all[i].name + "`"
		}
		fmt.Fprintf(&text, "| %s |", names)
		for _, meaning := range first.exits {
			fmt.Fprintf(&text, " %s |", cmp.Or(inMarkdown(meaning), "–"))
		}
		text.WriteString("\n")
	}
	return text.String()
}

// sections has one for each command. -config, which every command of bench and loadgen takes, is
// told before them.
func sections(t *testing.T, all []command) string {
	t.Helper()
	var text strings.Builder
	for _, c := range all {
		if c.name == "" {
			continue
		}
		fmt.Fprintf(&text, "\n## %s\n\n", c)
		if c.summary != "" {
			fmt.Fprintf(&text, "%s%s.\n\n", strings.ToUpper(c.summary[:1]), inMarkdown(c.summary[1:]))
		}
		text.WriteString("```\n" + strings.Join(c.usage, "\n") + "\n```\n\n| flag | default | meaning |\n|---|---|---|\n")
		config := false
		for _, f := range c.flags {
			if f.name == "config" {
				config = true
				continue
			}
			fmt.Fprintf(&text, "| `%s` | %s | %s |\n", strings.TrimSpace("-"+f.name+" "+f.value), f.byDefault, f.meaning)
		}
		if config != (c.program != "aggregator") {
			t.Errorf("%s: has -config: %v", c, config)
		}
	}
	return text.String()
}
