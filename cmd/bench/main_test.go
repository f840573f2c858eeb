package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekali/bench/experiment/mutants"
	"sekali/bench/system/memoryserver"
	"sekali/bench/system/nullserver"
)

func call(args ...string) (exit int, stdout, stderr string) {
	var out, err bytes.Buffer
	exit = dispatch(context.Background(), args, &out, &err)
	return exit, out.String(), err.String()
}

const scenarioText = `name: tiny
question: Does the command line work?
load:
  events_per_request: 10
  phases:
    - {name: measured, clients: 2, requests: 20, measured: true}
stream: {duplicates: 0.2}
`

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUsage(t *testing.T) {
	bad := write(t, "bad.yaml", strings.Replace(scenarioText, "clients: 2", "clients: -2", 1))
	for name, test := range map[string]struct {
		args []string
		exit int
		says string
	}{
		"nothing":             {nil, 2, "usage: bench"},
		"unknown command":     {[]string{"conquer"}, 2, `unknown command "conquer"`},
		"unknown flag":        {[]string{"run", "-speed", "9"}, 2, "-speed"},
		"unknown in the file": {[]string{"run", "-config", write(t, "bench.conf", "speed = 9\n")}, 2, `bench.conf:1: "speed"`},
		"bad in the file":     {[]string{"run", "-config", write(t, "bench.conf", "\nrepeat = x\n")}, 2, "bench.conf:2: repeat"},
		"read from the file":  {[]string{"run", "-config", write(t, "bench.conf", "scenario = nonexistent\n")}, 2, `no scenario "nonexistent"`},
		"too many arguments":  {[]string{"run", "smoke"}, 2, "1 arguments where 0 are expected"},
		"too few arguments":   {[]string{"audit", "folder"}, 2, "1 arguments where 2 are expected"},
		"bad scenario":        {[]string{"run", "-scenario", bad}, 2, bad + ":6:33: load.phases[0].clients"},
		"missing scenario":    {[]string{"run", "-scenario", "nonexistent"}, 2, `no scenario "nonexistent"; there is ack-levels,`},
		"a scenario's name":   {[]string{"saturate", "-scenario", "nonexistent"}, 2, `no scenario "nonexistent"; there is ack-levels,`},
		"missing token file":  {[]string{"run", "-token-file", "/nonexistent"}, 2, "/nonexistent"},
		"missing folder":      {[]string{"audit", "/nonexistent", "/nonexistent"}, 1, "/nonexistent"},
		"replay of nothing":   {[]string{"run", "-from", "/nonexistent/run.json"}, 2, "cannot be replayed"},
		"replay and scenario": {[]string{"run", "-from", "run.json", "-scenario", bad}, 2, "-from has its scenario"},
		"serve to others":     {[]string{"serve", "-listen", "0.0.0.0:0", "."}, 2, "not on the loopback"},
		"serve nothing":       {[]string{"serve", "/nonexistent"}, 2, "/nonexistent"},
		"help of a command":   {[]string{"run", "-h"}, 0, "-aggregator"},
		"profile of nothing":  {[]string{"profile", "-scenario", "nonexistent"}, 2, `no scenario "nonexistent"`},
		"compare nothing":     {[]string{"compare", "/nonexistent", "/nonexistent"}, 2, "/nonexistent"},
		"ab without a side":   {[]string{"ab", "-scenario", "smoke"}, 2, "-a and -scenario are needed"},
		"report of nothing":   {[]string{"report", "-root", "/nonexistent"}, 1, "/nonexistent"},
		"a short soak":        {[]string{"soak", "-time", "1s"}, 2, "a minute at least"},
		"faults of no name":   {[]string{"faults", "-only", "("}, 2, "-only"},
		"faults of none":      {[]string{"cluster-faults", "-only", "^$"}, 1, "none of that name"},
		"mutants, part of it": {[]string{"mutants", "-only", "x", "-write", "y"}, 2, "-write is for the whole table"},
		"cluster of nothing":  {[]string{"cluster", "-aggregator", "/nonexistent", "-log", "/nonexistent", "-port", "0"}, 1, "/nonexistent"},
		"remote without word": {[]string{"run", "-scenario", write(t, "tiny.yaml", scenarioText), "-aggregator", "http://192.0.2.1"}, 2, "-allow-remote"},
	} {
		exit, stdout, stderr := call(test.args...)
		if exit != test.exit || !strings.Contains(stderr, test.says) || stdout != "" {
			t.Errorf("%s: exit %d, stdout %q, stderr %q", name, exit, stdout, stderr)
		}
	}
}

// TestHelpAndVersion: what was asked for goes to stdout, and is no error; every command has a help
// of its own.
func TestHelpAndVersion(t *testing.T) {
	for arg, says := range map[string]string{
		"-h": "usage: bench", "-help": "usage: bench", "--help": "usage: bench", "help": "usage: bench",
		"-version": "bench development\n", "--version": "bench development\n", "version": "bench development\n",
	} {
		if exit, stdout, stderr := call(arg); exit != 0 || !strings.Contains(stdout, says) || stderr != "" {
			t.Errorf("%s: exit %d, stdout %q, stderr %q", arg, exit, stdout, stderr)
		}
	}
	for name := range commands {
		if name == nullserver.Command || name == mutants.Command || name == mutants.ProxyCommand { // not for people
			continue
		}
		exit, stdout, stderr := call(name, "-h")
		if exit != 0 || !strings.Contains(stdout+stderr, "usage: bench "+name) || !strings.Contains(stdout+stderr, "\nExit 0: ") {
			t.Errorf("%s -h: exit %d, stdout %q, stderr %q", name, exit, stdout, stderr)
		}
	}
}

// TestHelpIsOfTheCommand: run, profile and ab share flags, and the help of each has only those that
// do something there, with its own defaults.
func TestHelpIsOfTheCommand(t *testing.T) {
	for name, test := range map[string]struct{ has, lacks []string }{
		"run":     {[]string{"-aggregator program", "or URL of a running", "-token-file", "-allow-remote", "default all of scenarios/", "default 1)", "the link latest"}, []string{"latest-profile"}},
		"profile": {[]string{"-aggregator program", "default all of scenarios/", "the link latest-profile"}, []string{"running server", "-token-file", "-allow-remote", "-from"}},
		"ab":      {[]string{"-token-file", "-allow-remote", "runs/ab-<time>", "until the evidence decides"}, []string{"-aggregator", "default all of", "link latest", "-from"}},
	} {
		_, stdout, stderr := call(name, "-h")
		help := stdout + stderr
		for _, text := range test.has {
			if !strings.Contains(help, text) {
				t.Errorf("%s -h lacks %q:\n%s", name, text, help)
			}
		}
		for _, text := range test.lacks {
			if strings.Contains(help, text) {
				t.Errorf("%s -h has %q:\n%s", name, text, help)
			}
		}
	}
}

// TestRunAndAuditAgain runs against a server, and audits its result folder from an export, whole
// and with a line missing.
func TestRunAndAuditAgain(t *testing.T) {
	server := httptest.NewServer(memoryserver.New())
	defer server.Close()
	out := t.TempDir()
	_, stdout, stderr := call("run", "-scenario", write(t, "tiny.yaml", scenarioText), "-aggregator", server.URL, "-out", out)
	if !strings.Contains(stdout, "audit clean (160 acknowledged, 160 stored)") {
		t.Fatalf("%s%s", stdout, stderr)
	}
	folder := filepath.Join(out, "latest", "tiny-1")
	if exit, stdout, stderr := call("audit", folder, server.URL); exit != 0 || !strings.Contains(stdout, `"stored": 160`) {
		t.Errorf("by URL: exit %d, %s%s", exit, stdout, stderr)
	}
	ask, err := http.NewRequest(http.MethodGet, server.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	ask.Header.Set("Accept", "application/x-ndjson")
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var events bytes.Buffer
	if _, err := events.ReadFrom(answer.Body); err != nil {
		t.Fatal(err)
	}
	if exit, stdout, stderr := call("audit", folder, write(t, "events", events.String())); exit != 0 {
		t.Errorf("by export: exit %d, %s%s", exit, stdout, stderr)
	}
	_, shortened, _ := strings.Cut(events.String(), "\n")
	if exit, stdout, _ := call("audit", folder, write(t, "events", shortened)); exit != 1 || !strings.Contains(stdout, `"lost": 1`) {
		t.Errorf("a line is missing: exit %d, %s", exit, stdout)
	}
}
