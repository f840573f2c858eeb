package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"sekali/internal/settings"
)

// TestRefused: what cannot be is said in one line with the flag, and the code is 2.
func TestRefused(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, identityFile), []byte("b-0123\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := t.TempDir()
	if err := os.Mkdir(filepath.Join(foreign, "jetstream"), 0o700); err != nil {
		t.Fatal(err)
	}
	valid := map[string]string{"-name": "a", "-dir": dir, "-routes": "127.0.0.1:1,127.0.0.1:2", "-listen": "127.0.0.1:0", "-cluster-listen": "127.0.0.1:0"}
	for _, c := range []struct{ flag, value, says string }{
		{"-name", "", `-name=""`},
		{"-name", "a.b", `-name="a.b"`},
		{"-name", strings.Repeat("a", 64), "-name="},
		{"-dir", "", "-dir is empty"},
		{"-dir", filepath.Join(empty, "x"), "-dir: "},
		{"-dir", other, `was made for "b"`},
		{"-dir", foreign, "was not made by sekali-log"},
		{"-listen", "4222", `-listen="4222"`},
		{"-listen", "127.0.0.1:http", `"http" is no port`},
		{"-listen", "0.0.0.0:4222", "is not a loopback address: give -token-file"},
		{"-cluster-listen", ":6222", "-cluster-listen=:6222 is not a loopback address"},
		{"-routes", "", "-routes is missing: want the addresses of the servers' -cluster-listen"},
		{"-routes", "127.0.0.1:1", "two at least"},
		{"-routes", "127.0.0.1:1,b", `-routes: "b"`},
		{"-routes", "127.0.0.1:1,b:0", `"b:0" has no port`},
		{"-store-bytes", "1", "-store-bytes=1"},
		{"-store-bytes", "many", "-store-bytes: want a whole number"},
		{"-token-file", empty, "is empty"},
		{"-token-file", filepath.Join(dir, "none"), "-token-file: "},
		{"-tls-cert", empty, "go together"},
		{"-colour", "red", "colour"},
	} {
		var args []string
		for flag, value := range valid {
			if flag != c.flag {
				args = append(args, flag, value)
			}
		}
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append(args, c.flag, c.value), &stdout, &stderr)
		line := strings.TrimSpace(stderr.String())
		if code != 2 || !strings.Contains(line, c.says) || strings.Contains(line, "\n") || !strings.HasPrefix(line, "sekali-log: ") {
			t.Errorf("%s=%s: code %d, %q, want %q", c.flag, c.value, code, line, c.says)
		}
	}
}

func TestVersionAndHelp(t *testing.T) {
	var out, stderr bytes.Buffer
	if code := run(t.Context(), []string{"-version"}, &out, &stderr); code != 0 || !strings.HasPrefix(out.String(), "sekali-log "+version+" nats-server "+natsVersion) {
		t.Errorf("%d %q", code, out.String())
	}
	out.Reset()
	if code := run(t.Context(), []string{"-h"}, &out, &stderr); code != 0 || !strings.Contains(out.String(), "-cluster-listen address") {
		t.Errorf("%d %q", code, out.String())
	}
}

// TestSecondProcess: one folder, one process.
func TestSecondProcess(t *testing.T) {
	dir := t.TempDir()
	cfg := config{name: "a", dir: dir}
	lock, err := cfg.lock()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	args := []string{"-name", "a", "-dir", dir, "-routes", "127.0.0.1:1,127.0.0.1:2", "-listen", "127.0.0.1:0", "-cluster-listen", "127.0.0.1:0"}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if code := run(ctx, args, &stdout, &stderr); code != 2 || !strings.Contains(stderr.String(), "is used by another sekali-log") {
		t.Errorf("%d %q", code, stderr.String())
	}
	lock.Close()
}

// TestPeerID: the hash is the server's own, else a lost server that nobody has seen is not found.
func TestPeerID(t *testing.T) {
	for _, name := range []string{"a-0000", "log-1-beef"} {
		s, err := server.NewServer(&server.Options{ServerName: name, DontListen: true, NoSigs: true, NoLog: true})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		if s.Node() != peerID(name) {
			t.Errorf("%s: %q, want %q", name, peerID(name), s.Node())
		}
		s.Shutdown()
	}
}

// TestIdentity: drawn once, and never one that the cluster knows.
func TestIdentity(t *testing.T) {
	cfg := config{name: "log-1", dir: t.TempDir()}
	name, err := cfg.newIdentity(nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := cfg.identity(); err != nil || again != name {
		t.Errorf("%q, %v, want %q", again, err, name)
	}
	var all []peer
	const free = "log-1-00ff"
	for _, p := range cfg.namesakes(allPeers(cfg.name), "") {
		if p.Name != free {
			all = append(all, p)
		}
	}
	if len(all) != 1<<16-1 {
		t.Fatalf("%d namesakes", len(all))
	}
	if name, err := cfg.newIdentity(all); err != nil || name != free {
		t.Errorf("%q, %v, want the one that is left", name, err)
	}
	if found := cfg.namesakes([]peer{{ID: peerID("log-2-00ff")}, {ID: peerID(free)}}, ""); len(found) != 1 || found[0].Name != free {
		t.Errorf("%v", found)
	}
}

// allPeers are all that a name could be.
func allPeers(name string) (peers []peer) {
	for i := range 1 << 16 {
		peers = append(peers, peer{ID: peerID(fmt.Sprintf("%s-%04x", name, i))})
	}
	return peers
}

// TestEveryFlagHasItsRow: the flags are those of sekali-log's section in the reference.
func TestEveryFlagHasItsRow(t *testing.T) {
	page, err := os.ReadFile("../docs/reference/flags.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## sekali-log")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := strings.Count(section, "\n| `-")
	(&config{}).flags().VisitAll(func(f *flag.Flag) {
		rows--
		if !strings.Contains(section, "\n| `-"+f.Name+"` |") {
			t.Errorf("-%s has no row in flags.md", f.Name)
		}
	})
	if rows > 0 {
		t.Errorf("flags.md has rows of no flag: %d", rows)
	}
}

// TestServiceSettings: the file of the service has flags of this program, those behind # too.
func TestServiceSettings(t *testing.T) {
	text, err := os.ReadFile("../ops/sekali-log.conf")
	if err != nil {
		t.Fatal(err)
	}
	set := regexp.MustCompile(`(?m)^# ([a-z-]+ = )`).ReplaceAll(text, []byte("$1"))
	path := filepath.Join(t.TempDir(), "sekali-log.conf")
	if err := os.WriteFile(path, set, 0o600); err != nil {
		t.Fatal(err)
	}
	c := defaults()
	if _, err := settings.Parse(c.flags(), []string{"-config", path}, os.LookupEnv); err != nil {
		t.Fatal(err)
	}
	if err := c.check(); err != nil || c.name != "log-1" || c.dir != "/var/lib/sekali-log" || c.tokenFile == "" {
		t.Errorf("%v: %+v", err, c)
	}
}
