package senders_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCollectd: values are given to collectd through its socket. It drops what it could not send at
// once, as the page says: a release that keeps it fails here.
func TestCollectd(t *testing.T) {
	p := findProgram(t, "collectd", "usr/lib/collectd/write_http.so")
	tr := newPageTrial(t)
	tr.drops = true
	dir := t.TempDir()
	socket, config := filepath.Join(dir, "socket"), filepath.Join(dir, "collectd.conf")
	text := fmt.Sprintf(`BaseDir %q
PIDFile %q
PluginDir %q
TypesDB %q
LoadPlugin unixsock
<Plugin unixsock>
  SocketFile %q
</Plugin>
%s`, dir, filepath.Join(dir, "pid"), filepath.Dir(p.module("usr/lib/collectd/write_http.so")), p.module("usr/share/collectd/types.db"), socket, tr.configuration("collectd"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var conn net.Conn
	var answers *bufio.Reader
	start := func() {
		p.start("-f", "-C", config)
		conn = dialUnix(t, socket)
		answers = bufio.NewReader(conn)
	}
	start()
	put := func(n int) error {
		fmt.Fprintf(conn, "PUTVAL host/trial/gauge-%s %d.%03d:1\n", mark(n), time.Now().Unix(), n%1000)
		line, err := answers.ReadString('\n')
		if err == nil && !strings.HasPrefix(line, "0 ") {
			err = fmt.Errorf("collectd: %s", line)
		}
		return err
	}
	tr.feed(collectdValues, put, func() { p.stop(); start() })
	p.stop() // it sends what it holds
	tr.finish(outcome{Sender: "collectd write_http", Version: p.version("-h"), Protocol: "JSON to /ingest", Restarts: 1}, collectdValues)
}

const collectdValues = 2000

// dialUnix connects to a socket as soon as a server listens there.
func dialUnix(t *testing.T, socket string) net.Conn {
	t.Helper()
	for deadline := time.Now().Add(readyTimeout); ; time.Sleep(pollPeriod) {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
			return conn
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
