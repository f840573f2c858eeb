package senders_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const syslogLines = 3000

// TestRsyslog: rsyslog follows a file, and is started again while the aggregator is away. Releases
// before 8.2606.0 then lose what they have in hand (rsyslog's commit 29aaf6117): of those a loss is
// wanted, of at most a batch, and that it was in no request that was answered.
func TestRsyslog(t *testing.T) {
	r := newRsyslog(t, "usr/lib/*/rsyslog/omelasticsearch.so")
	version := r.program.version("-v")
	var month int
	if _, err := fmt.Sscanf(version, "8.%d", &month); err != nil {
		t.Fatalf("%s: %v", version, err)
	}
	r.drops = month < rsyslogKeeps
	r.configure(r.configuration("rsyslog"))
	r.start()
	r.feed(syslogLines, r.write, func() {
		r.meanwhile = func() { r.program.stop(); r.start() }
	})
	// What it has lost it will never send; what it has not is there soon.
	if r.drops {
		r.waitStored(syslogLines - rsyslogBatch)
		time.Sleep(2 * rsyslogResume)
		r.program.stop()
	}
	lost := r.finish(outcome{Sender: "rsyslog omelasticsearch", Version: version, Protocol: "Elasticsearch bulk", Restarts: 1}, syslogLines)
	if len(lost) > rsyslogBatch || r.capture.answered(lost) {
		t.Errorf("%d lost: want at most a batch, and none of them answered:\n%s", len(lost), r.capture.of(lost))
	}
	t.Logf("what was seen of the lost:\n%s", r.capture.of(lost))
}

const (
	rsyslogKeeps  = 2606 // the release that keeps a batch when it is stopped
	rsyslogBatch  = 128  // queue.dequeueBatchSize by default
	rsyslogResume = time.Second
)

// TestRsyslogFile: rsyslog writes events to a file, with ids, and loadgen follows it. Both are
// started again while the aggregator is away.
func TestRsyslogFile(t *testing.T) {
	r := newRsyslog(t, "usr/lib/*/rsyslog/lmnet.so")
	events := filepath.Join(r.dir, "events.log")
	r.configure(strings.ReplaceAll(r.configuration("rsyslog to a file"), "/var/log/sekali.log", events))
	follower, follow := r.follower("loadgen of rsyslog", events)
	r.start()
	follow()
	r.feed(syslogLines, r.write, func() {
		r.meanwhile = func() {
			follower.stop()
			r.program.stop()
			r.start()
			follow()
		}
	})
	r.finish(outcome{Sender: "rsyslog omfile, loadgen -follow", Version: r.program.version("-v"), Protocol: "NDJSON to /publish", Restarts: 1}, syslogLines)
	follower.stop()
	r.program.stop()
}

// rsyslog is a trial of an rsyslogd that follows a file.
type rsyslog struct {
	*trial
	program     *program
	dir, config string
	write       func(n int) error
}

func newRsyslog(t *testing.T, module string) *rsyslog {
	t.Helper()
	p := findProgram(t, "rsyslogd", module)
	r := &rsyslog{trial: newPageTrial(t), program: p, dir: t.TempDir()}
	r.config = filepath.Join(r.dir, "rsyslog.conf")
	line := newLog(t, filepath.Join(r.dir, "input.log"))
	r.write = func(n int) error { return line(mark(n)) }
	return r
}

func (r *rsyslog) configure(text string) {
	r.t.Helper()
	text = fmt.Sprintf(`global(workDirectory=%q)
module(load="imfile")
input(type="imfile" file=%q tag="trial:")
%s`, r.dir, filepath.Join(r.dir, "input.log"), text)
	if err := os.WriteFile(r.config, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rsyslog) start() {
	r.t.Helper()
	r.program.start("-n", "-f", r.config, "-i", filepath.Join(r.dir, "pid"), "-M", filepath.Dir(r.program.module("usr/lib/*/rsyslog/imfile.so")))
}

// TestSyslogNG: syslog-ng follows a file, and has its queue on disk.
func TestSyslogNG(t *testing.T) {
	p := findProgram(t, "syslog-ng", "usr/lib/syslog-ng/*/libhttp.so")
	tr := newPageTrial(t)
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
