// Package completion writes what makes bash, zsh and fish complete a program's commands and flags.
// It is made from the flags themselves: each command is asked for its help.
package completion

import (
	"flag"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"sekali/internal/settings"
)

// Shells are what Write can write for.
var Shells = []string{"bash", "zsh", "fish"}

// Command is one of a program's; "" is the program without one.
type Command struct {
	Name, Summary string
	Words         []string // of which one follows the name
}

// Program is what is to be completed.
type Program struct {
	Name     string
	Commands []Command
	// Help runs a command with -h, of which the output goes to w.
	Help func(command string, w io.Writer)
}

// Run is the command `completion` of a program. It returns the exit code.
func Run(p Program, args []string, stdout, stderr io.Writer) int {
	if len(args) == 1 {
		if text, ok := p.script(args[0]); ok {
			io.WriteString(stdout, text) // a reader that has gone wants no more
			return 0
		}
	}
	out, code := stderr, 2
	if len(args) == 1 && strings.TrimLeft(args[0], "-") == "h" || len(args) == 1 && strings.TrimLeft(args[0], "-") == "help" {
		out, code = stdout, 0
	}
	fmt.Fprintf(out, "usage: %s completion %s\n", p.Name, strings.Join(Shells, "|"))
	return code
}

func (p Program) script(shell string) (string, bool) {
	commands := p.commands()
	switch shell {
	case "bash":
		return bash(p.Name, commands), true
	case "zsh":
		return zsh(p.Name, commands), true
	case "fish":
		return fish(p.Name, commands), true
	}
	return "", false
}

// command is one with its flags.
type command struct {
	Command
	flags []option
}

// option is a flag.
type option struct {
	name, summary string
	kind          kind
	value         string   // what the value is called
	words         []string // what the value can be, if it is one of few
}

// kind is what a flag takes.
type kind int

const (
	nothing kind = iota
	word
	file
	folder
)

func (p Program) commands() []command {
	shells := command{Command{Name: "completion", Summary: "writes what makes a shell complete this", Words: Shells}, nil}
	all := []command{}
	for _, c := range p.Commands {
		t := &taker{}
		p.Help(c.Name, t)
		all = append(all, command{c, t.options})
	}
	return append(all, shells)
}

// taker is the output of a command that is asked for its help: it is given the flags.
type taker struct{ options []option }

var _ settings.Taker = (*taker)(nil)

func (*taker) Write(p []byte) (int, error) { return len(p), nil }

// few is how a flag's usage lists what the value can be.
var few = regexp.MustCompile(`(?:^|: )([a-z]+(?:(?:, | or )[a-z]+)+)(?:$|;| \()`)

// Take keeps the flags.
func (t *taker) Take(flags *flag.FlagSet) {
	flags.VisitAll(func(f *flag.Flag) {
		value, summary := flag.UnquoteUsage(f)
		o := option{name: f.Name, summary: summary, kind: word, value: value}
		if b, ok := f.Value.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() {
			o.kind = nothing
		} else if m := few.FindStringSubmatch(summary); m != nil {
			o.words = strings.Split(strings.ReplaceAll(m[1], " or ", ", "), ", ")
		} else if value == "file" {
			o.kind = file
		} else if value == "folder" {
			o.kind = folder
		}
		t.options = append(t.options, o)
	})
}

// all are the words and flags that can follow a command.
func (c command) all() string {
	words := slices.Clone(c.Words)
	for _, o := range c.flags {
		words = append(words, "-"+o.name)
	}
	return strings.Join(words, " ")
}

// names are those of the commands.
func names(commands []command, between string) string {
	var names []string
	for _, c := range commands {
		if c.Name != "" {
			names = append(names, c.Name)
		}
	}
	return strings.Join(names, between)
}
