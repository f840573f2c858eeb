package publisher

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

// environment is a lookup for ParseFlags.
func environment(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func TestParseFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "publish.conf")
	if err := os.WriteFile(file, []byte("rate = 50\nper-request = 8\ncount = 6\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		env  []string
		want func(Config) bool
	}{
		"defaults": {nil, nil, func(c Config) bool {
			return c.URL == "http://127.0.0.1:8080" && c.Count == 1000 && c.PerRequest == 100 && c.Wait == 30*time.Second && c.Retry.MaxAttempts > 1
		}},
		"flags":                    {[]string{"-rate", "500", "-count", "7", "-duplicates", "0.2", "-ack", "store"}, nil, func(c Config) bool { return c.Rate == 500 && c.Count == 7 && c.Duplicates == 0.2 && c.Ack == "store" }},
		"environment":              {nil, []string{"SEKALI_URL", "http://h:1", "SEKALI_PER_REQUEST", "9"}, func(c Config) bool { return c.URL == "http://h:1" && c.PerRequest == 9 }},
		"the flag wins":            {[]string{"-per-request", "8"}, []string{"SEKALI_PER_REQUEST", "9"}, func(c Config) bool { return c.PerRequest == 8 }},
		"the file":                 {[]string{"-config", file}, []string{"SEKALI_PER_REQUEST", "9"}, func(c Config) bool { return c.PerRequest == 9 && c.Rate == 50 }},
		"some, by the file":        {[]string{"-input", "-", "-config", file}, nil, func(c Config) bool { return c.Count == 6 }},
		"all of an input":          {[]string{"-input", "-"}, nil, func(c Config) bool { return c.Count == unbounded }},
		"some of an input":         {[]string{"-input", "-", "-count", "5"}, nil, func(c Config) bool { return c.Count == 5 }},
		"some, by the environment": {[]string{"-input", "-"}, []string{"SEKALI_COUNT", "6"}, func(c Config) bool { return c.Count == 6 }},
		"for ever":                 {[]string{"-max-elapsed", "0"}, nil, func(c Config) bool { return c.Retry.MaxElapsed > 1000*time.Hour && c.Retry.MaxAttempts > 1e9 }},
		"for ever, ten times":      {[]string{"-max-elapsed", "0", "-max-attempts", "10"}, nil, func(c Config) bool { return c.Retry.MaxElapsed > 1000*time.Hour && c.Retry.MaxAttempts == 10 }},
		"lines":                    {[]string{"-input", "-", "-lines", "-topic", "t", "-source", "web-1"}, nil, func(c Config) bool { return c.Lines && c.Topic == "t" && c.Source == "web-1" }},
	} {
		got, err := ParseFlags(c.args, environment(c.env...), io.Discard)
		if err != nil || !c.want(got) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestParseFlagsRefusesInOneLine(t *testing.T) {
	for _, c := range []struct {
		args string
		env  []string
		want string
	}{
		{"-rate -1", nil, "-rate"},
		{"-rate NaN", nil, "-rate"},
		{"-per-request 0", nil, "-per-request"},
		{"-count -1", nil, "-count"},
		{"-url nowhere", nil, "-url"},
		{"-url 127.0.0.1:8080", nil, `-url="127.0.0.1:8080" is not a URL of the form http://host:port`},
		{"-ack disk", nil, "-ack"},
		{"-wait -1s", nil, "-wait"},
		{"-timeout 0", nil, "-timeout"},
		{"-max-attempts 0", nil, "-max-attempts"},
		{"-max-elapsed -1s", nil, "-max-elapsed"},
		{"-zone Nowhere", nil, "-zone"},
		{"-run x", nil, "-input"},
		{"-lines", nil, "-input"},
		{"-lines -input -", nil, "-topic"},
		{"-source x -input -", nil, "-lines"},
		{"-duplicates 0.1 -input -", nil, "-duplicates"},
		{"-topic a\"b", nil, "-topic"},
		{"-unknown", nil, "-unknown: -h lists the flags"},
		{"extra", nil, `"extra": -h lists`},
		{"", []string{"SEKALI_RATE", "fast"}, "SEKALI_RATE"},
		{"", []string{"SEKALI_URL", "nowhere"}, "(set in SEKALI_URL)"},
		{"", []string{"SEKALI_ACK", "disk"}, "(set in SEKALI_ACK)"},
		{"", []string{"SEKALI_MAX_ELAPSED", "-1s"}, "(set in SEKALI_MAX_ELAPSED)"},
		{"", []string{"SEKALI_TOPIC", "a\"b"}, "(set in SEKALI_TOPIC)"},
	} {
		_, err := ParseFlags(strings.Fields(c.args), environment(c.env...), io.Discard)
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %v: %v, want one line with %q", c.args, c.env, err, c.want)
		}
	}
}

func TestHelpListsTheFlags(t *testing.T) {
	var usage strings.Builder
	if _, err := ParseFlags([]string{"-h"}, environment(), &usage); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	for _, want := range []string{"-url", "-duplicates", "SEKALI_"} {
		if !strings.Contains(usage.String(), want) {
			t.Errorf("the usage does not mention %s", want)
		}
	}
}

func TestToken(t *testing.T) {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if token, err := (Config{TokenFile: file(" secret\n")}).token(); err != nil || token != "secret" {
		t.Errorf("%q, %v", token, err)
	}
	for _, path := range []string{file("\n"), file("a\nb"), filepath.Join(t.TempDir(), "none")} {
		if token, err := (Config{TokenFile: path}).token(); !errors.Is(err, ErrConfig) {
			t.Errorf("%q, %v", token, err)
		}
	}
}
