package senders_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const requests = 2000

// TestNginx: nginx writes events, and loadgen follows its file.
func TestNginx(t *testing.T) {
	p := findProgram(t, "nginx", "usr/sbin/nginx")
	tr := newPageTrial(t)
	dir := t.TempDir()
	socket, log, config := filepath.Join(dir, "socket"), filepath.Join(dir, "access.log"), filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off; pid %s; error_log stderr warn;
events {}
http {
%s
client_body_temp_path %s; proxy_temp_path %[3]s; fastcgi_temp_path %[3]s; uwsgi_temp_path %[3]s; scgi_temp_path %[3]s;
server { listen unix:%[4]s; return 204; }
}`, filepath.Join(dir, "pid"), strings.ReplaceAll(tr.configuration("nginx"), "/var/log/nginx/sekali.log", log), dir, socket)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.start("-c", config, "-e", "stderr")
	follower, start := tr.follower("loadgen of events", log)
	get := client(t, socket)
	start()
	tr.feed(requests, get, func() { follower.stop(); start() })
	tr.finish(outcome{Sender: "nginx, loadgen -follow", Version: p.version("-v"), Protocol: "NDJSON to /publish", Restarts: 1}, requests)
	follower.stop()
}

// TestHAProxy: HAProxy writes lines, and loadgen follows the file of its output.
func TestHAProxy(t *testing.T) {
	p := findProgram(t, "haproxy", "usr/sbin/haproxy")
	tr := newPageTrial(t)
	dir := t.TempDir()
	socket, log, config := filepath.Join(dir, "socket"), filepath.Join(dir, "haproxy.log"), filepath.Join(dir, "haproxy.cfg")
	text := tr.configuration("haproxy") + fmt.Sprintf(`    timeout client 10s
frontend web
    bind unix@%s
    http-request return status 204
`, socket)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if p.stdout, err = os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		t.Fatal(err)
	}
	defer p.stdout.Close()
	p.start("-f", config, "-db")
	follower, start := tr.follower("loadgen of lines", log)
	get := client(t, socket)
	start()
	tr.feed(requests, get, func() { follower.stop(); start() })
	tr.finish(outcome{Sender: "HAProxy, loadgen -follow", Version: p.version("-v"), Protocol: "NDJSON to /publish", Restarts: 1}, requests)
	follower.stop()
}

// follower is loadgen with the arguments that the page shows, for this file, and what starts it.
func (tr *trial) follower(name, input string) (*program, func()) {
	tr.t.Helper()
	_, line, found := strings.Cut(tr.configuration(name), "bin/loadgen ")
	if !found {
		tr.t.Fatalf("%s shows no bin/loadgen under %s", page, name)
	}
	args := strings.Fields(line)
	for i := range args[:len(args)-1] {
		switch args[i] {
		case "-input":
			args[i+1] = input
		case "-state":
			args[i+1] = input + ".state"
		case "-token-file":
			args[i+1] = tr.tokenFile
		}
	}
	p := &program{t: tr.t, path: loadgen}
	return p, func() { p.start(args...) }
}

// client asks the server at a socket for a path with the mark of an event, once it answers.
func client(t *testing.T, socket string) func(n int) error {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	t.Cleanup(c.CloseIdleConnections)
	dialUnix(t, socket).Close()
	return func(n int) error {
		answer, err := c.Get("http://server/" + mark(n))
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusNoContent {
			return fmt.Errorf("%s", answer.Status)
		}
		return nil
	}
}
