// Package settings sets a program's flags from its command line, its environment and a file.
package settings

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// File is the flag that names the file. A program has it if it calls Declare.
const File = "config"

// lineBytes bounds a line of the file.
const lineBytes = 64 << 10

// Declare adds -config to the flags.
func Declare(flags *flag.FlagSet) {
	flags.String(File, "", "`file` of further settings, a line each: name = value, the name as here without -")
}

// Taker is an output that wants the flags themselves, and not their help.
type Taker interface{ Take(flags *flag.FlagSet) }

// Help answers -h: with a usage and the flags.
func Help(w io.Writer, usage string, flags *flag.FlagSet) {
	if t, ok := w.(Taker); ok {
		t.Take(flags)
		return
	}
	fmt.Fprintln(w, usage)
	flags.SetOutput(w)
	flags.PrintDefaults()
}

// Lookup finds a variable of the environment, as os.LookupEnv does; None finds none.
type Lookup func(name string) (value string, ok bool)

// None is the Lookup of a program that reads no environment.
func None(string) (string, bool) { return "", false }

// Origins say where each flag that was set was set: "" the command line, else a variable or a
// place in the file.
type Origins map[string]string

// Given reports whether a flag was set, wherever.
func (o Origins) Given(name string) bool { _, ok := o[name]; return ok }

var named = regexp.MustCompile(`(?:^|[\s(])-([a-z][a-z-]*)`)

// Explain adds to an error that names flags where they were set, if not on the command line.
func (o Origins) Explain(err error) error {
	if err == nil {
		return nil
	}
	var places []string
	for _, m := range named.FindAllStringSubmatch(err.Error(), -1) {
		if place := o[m[1]]; place != "" && !slices.Contains(places, place) {
			places = append(places, place)
		}
	}
	if places == nil {
		return err
	}
	return fmt.Errorf("%w (set in %s)", err, strings.Join(places, ", "))
}

const (
	parseError = "parse error"                    // all that package flag says of a value that is of another kind
	undefined  = "flag provided but not defined:" // and of a flag that there is not
)

var unparsed = regexp.MustCompile(`-([a-z][a-z-]*): ` + parseError + `$`)

// want has an error about a flag's value say what is wanted, where package flag does not.
func want(f *flag.Flag, err error) error {
	before, ok := strings.CutSuffix(err.Error(), parseError)
	getter, typed := f.Value.(flag.Getter)
	if !ok || !typed {
		return err
	}
	switch getter.Get().(type) {
	case int, int64, uint, uint64:
		return errors.New(before + "want a whole number")
	case float64:
		return errors.New(before + "want a number")
	case time.Duration:
		return errors.New(before + "want a time with a unit, such as 30s or 5m")
	case bool:
		return errors.New(before + "want true or false")
	}
	return err
}

// Variable is the name of a flag's variable.
func Variable(name string) string {
	return "SEKALI_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Parse sets the flags: from args, those that are not there from the environment, and those that
// are not there either from the file that -config names. An argument that is no flag's is refused.
func Parse(flags *flag.FlagSet, args []string, lookup Lookup) (Origins, error) {
	origins, err := ParseBefore(flags, args, lookup)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unknown argument %q: -h lists what there is", flags.Arg(0))
	}
	return origins, err
}

// ParseBefore is Parse for flags that stand before arguments, which are left in flags.Args().
func ParseBefore(flags *flag.FlagSet, args []string, lookup Lookup) (Origins, error) {
	if err := flags.Parse(args); err != nil {
		if m := unparsed.FindStringSubmatch(err.Error()); m != nil {
			err = want(flags.Lookup(m[1]), err)
		}
		if strings.HasPrefix(err.Error(), undefined) {
			err = fmt.Errorf("%w: -h lists the flags", err)
		}
		return nil, err
	}
	origins := Origins{}
	flags.Visit(func(f *flag.Flag) { origins[f.Name] = "" })
	var err error
	flags.VisitAll(func(f *flag.Flag) {
		name := Variable(f.Name)
		if v, ok := lookup(name); ok && !origins.Given(f.Name) && err == nil {
			if e := f.Value.Set(v); e != nil {
				err = fmt.Errorf("%s=%q: %w", name, v, want(f, e))
			}
			origins[f.Name] = name
		}
	})
	file := flags.Lookup(File)
	if err != nil || file == nil || file.Value.String() == "" {
		return origins, err
	}
	return origins, read(flags, file.Value.String(), origins)
}

// read sets from a file the flags that have no origin yet.
func read(flags *flag.FlagSet, path string, origins Origins) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("-%s: %w", File, err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, lineBytes)
	places := map[string]string{} // of the file's names
	number := 0
	for lines.Scan() {
		number++
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		place := fmt.Sprintf("%s:%d", path, number)
		name, value, ok := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case !ok:
			return fmt.Errorf("%s: %.80q is not of the form name = value", place, line)
		case flags.Lookup(name) == nil || name == File:
			return fmt.Errorf("%s: %q is no setting that a file may have", place, name)
		case places[name] != "":
			return fmt.Errorf("%s: %s is set already, in %s", place, name, places[name])
		}
		places[name] = place
		if origins.Given(name) {
			continue
		}
		if err := flags.Set(name, value); err != nil {
			return fmt.Errorf("%s: %s = %q: %w", place, name, value, want(flags.Lookup(name), err))
		}
		origins[name] = place
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s:%d: %w", path, number+1, err)
	}
	return nil
}
