package senders_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const syslogLines = 3000

// TestRsyslog: rsyslog follows a file, and saves its queue when it is stopped.
func TestRsyslog(t *testing.T) {
	p := findProgram(t, "rsyslogd", "usr/lib/*/rsyslog/omelasticsearch.so")
	tr := newTrial(t)
	dir := t.TempDir()
	input := filepath.Join(dir, "input.log")
	write := newLog(t, input)
	config := filepath.Join(dir, "rsyslog.conf")
	text := fmt.Sprintf(`global(workDirectory=%q)
module(load="imfile")
input(type="imfile" file=%q tag="trial:")
%s`, dir, input, tr.configuration("rsyslog"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func() {
		p.start("-n", "-f", config, "-i", filepath.Join(dir, "pid"), "-M", filepath.Dir(p.module("usr/lib/*/rsyslog/omelasticsearch.so")))
	}
	start()
	tr.feed(syslogLines, func(n int) error { return write(mark(n)) }, func() { p.stop(); start() })
	tr.finish(outcome{Sender: "rsyslog omelasticsearch", Version: p.version("-v"), Protocol: "Elasticsearch bulk", Restarts: 1}, syslogLines)
	p.stop()
}

// TestSyslogNG: syslog-ng follows a file, and has its queue on disk.
func TestSyslogNG(t *testing.T) {
	p := findProgram(t, "syslog-ng", "usr/lib/syslog-ng/*/libhttp.so")
	tr := newTrial(t)
	dir := t.TempDir()
	input := filepath.Join(dir, "input.log")
	write := newLog(t, input)
	config := filepath.Join(dir, "syslog-ng.conf")
	text := fmt.Sprintf(`@version: 3.38
%s
source s_src { file(%q follow-freq(0.1) flags(no-parse) program-override("trial")); };
log { source(s_src); destination(d_sekali); };
`, tr.configuration("syslog-ng"), input)
	// Else the buffer is in the folder that the package has compiled in.
	text = strings.Replace(text, "disk-buffer(", fmt.Sprintf("disk-buffer(dir(%q) ", dir), 1)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func() {
		p.start("--foreground", "--no-caps", "--cfgfile", config, "--persist-file", filepath.Join(dir, "persist"),
			"--control", filepath.Join(dir, "control"), "--pidfile", filepath.Join(dir, "pid"),
			"--module-path", filepath.Dir(p.module("usr/lib/syslog-ng/*/libhttp.so")))
	}
	start()
	tr.feed(syslogLines, func(n int) error { return write(mark(n)) }, func() { p.stop(); start() })
	tr.finish(outcome{Sender: "syslog-ng http()", Version: p.version("--version"), Protocol: "NDJSON to /publish", Restarts: 1}, syslogLines)
	p.stop()
}
