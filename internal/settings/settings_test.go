package settings

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// config is what the flags of these tests set.
type config struct {
	listen, ack string
	batch       int
	insecure    bool
	wait        time.Duration
}

// parse parses with a file of the text as -config; environ is NAME=value.
func parse(t *testing.T, text string, environ string, args ...string) (c config, path string, origins Origins, err error) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "sekali.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	Declare(flags)
	flags.StringVar(&c.listen, "listen", "default", "")
	flags.StringVar(&c.ack, "ack", "journal", "")
	flags.IntVar(&c.batch, "batch-events", 5, "")
	flags.BoolVar(&c.insecure, "insecure", false, "")
	flags.DurationVar(&c.wait, "wait", time.Second, "")
	lookup := func(name string) (string, bool) {
		variable, value, ok := strings.Cut(environ, "=")
		return value, ok && variable == name
	}
	origins, err = Parse(flags, append([]string{"-config", path}, args...), lookup)
	return c, path, origins, err
}

// TestOrder: flag, environment, file, default.
func TestOrder(t *testing.T) {
	const file = "# a comment\n\n  batch-events = 7\nlisten=file\n"
	for _, c := range []struct {
		name, file, environ string
		args                []string
		listen              string
	}{
		{"default", "", "", nil, "default"},
		{"file", file, "", nil, "file"},
		{"environment over file", file, "SEKALI_LISTEN=variable", nil, "variable"},
		{"flag over both", file, "SEKALI_LISTEN=variable", []string{"-listen", "flag"}, "flag"},
		{"an empty variable is one", file, "SEKALI_LISTEN=", nil, ""},
		{"an empty value is one", "listen =\n", "", nil, ""},
		{"a value may have = and #", "listen = a=b # c\n", "", nil, "a=b # c"},
	} {
		got, _, _, err := parse(t, c.file, c.environ, c.args...)
		if err != nil || got.listen != c.listen {
			t.Errorf("%s: %q, %v", c.name, got.listen, err)
		}
		if c.file == file && got.batch != 7 {
			t.Errorf("%s: batch-events is %d", c.name, got.batch)
		}
	}
}

func TestEveryKindOfFlag(t *testing.T) {
	got, _, origins, err := parse(t, "insecure = true\nwait = 2m\nack = store\nbatch-events = 9\r\n", "")
	if want := (config{"default", "store", 9, true, 2 * time.Minute}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if !origins.Given("wait") || origins.Given("listen") {
		t.Errorf("%v", origins)
	}
}

// TestFileIsRefused: with the file, the line and the name.
func TestFileIsRefused(t *testing.T) {
	for _, c := range []struct{ file, says string }{
		{"ack = store\ncolour = red\n", `:2: "colour" is no setting`},
		{"config = other\n", `:1: "config" is no setting`},
		{"\n\nbatch-events = many\n", `:3: batch-events = "many": want a whole number`},
		{"insecure = perhaps\n", `:1: insecure = "perhaps": want true or false`},
		{"wait = 2\n", `:1: wait = "2": want a time with a unit`},
		{"listen\n", `:1: "listen" is not of the form`},
		{"ack = store\nack = memory\n", ":2: ack is set already, in "},
		{"= x\n", `:1: "" is no setting`},
		{"ack = " + strings.Repeat("x", lineBytes), ":1: "},
	} {
		_, path, _, err := parse(t, c.file, "")
		if err == nil || !strings.HasPrefix(err.Error(), path+c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40q: %v, want %q", c.file, err, c.says)
		}
	}
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	Declare(flags)
	if _, err := Parse(flags, []string{"-config", "no-such-file"}, None); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// TestExplain: what a later check finds is told with the place, too.
func TestExplain(t *testing.T) {
	_, path, origins, err := parse(t, "batch-events = 7\n", "SEKALI_ACK=quorum", "-listen", "x")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"-batch-events=7, want more": "-batch-events=7, want more (set in " + path + ":1)",
		"configuration: -ack: what?": "configuration: -ack: what? (set in SEKALI_ACK)",
		"-listen=x: no port":         "-listen=x: no port",
	} {
		if got := origins.Explain(errors.New(text)); got.Error() != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestWanted: a value of another kind is told what is wanted, on the command line and in a
// variable.
func TestWanted(t *testing.T) {
	for _, arg := range []struct{ given, says string }{
		{"-batch-events=abc", `invalid value "abc" for flag -batch-events: want a whole number`},
		{"-insecure=abc", `invalid boolean value "abc" for -insecure: want true or false`},
		{"-wait=abc", `invalid value "abc" for flag -wait: want a time with a unit, such as 30s or 5m`},
	} {
		if _, _, _, err := parse(t, "", "", arg.given); err == nil || err.Error() != arg.says {
			t.Errorf("%s: %v", arg.given, err)
		}
	}
	if _, _, _, err := parse(t, "", "SEKALI_BATCH_EVENTS=abc"); err == nil || err.Error() != `SEKALI_BATCH_EVENTS="abc": want a whole number` {
		t.Errorf("%v", err)
	}
}
