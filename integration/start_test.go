package integration_test

import (
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestBadFlags: exit code 2 and one line, before anything is created.
func TestBadFlags(t *testing.T) {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "sekali.conf")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, bad := range []struct {
		name    string
		environ []string
		args    []string
		names   string // what the message has to name
	}{
		{"unknown flag", nil, []string{"-colour"}, "colour"},
		{"unknown ack level", nil, []string{"-ack", "quorum"}, "quorum"},
		{"unknown ack level in the environment", []string{"SEKALI_ACK=quorum"}, nil, "quorum"},
		{"unknown dedup design", nil, []string{"-dedup", "bloom"}, "bloom"},
		{"unknown log level", nil, []string{"-log-level", "loud"}, "loud"},
		{"no batch at all", nil, []string{"-batch-events", "0"}, "batch-events"},
		{"negative queue", nil, []string{"-queue-events", "-1"}, "queue-events"},
		{"not a number", nil, []string{"-queue-bytes", "many"}, "queue-bytes"},
		{"not a number in the environment", []string{"SEKALI_QUEUE_BYTES=many"}, nil, "many"},
		{"no backlog", nil, []string{"-backlog-bytes", "-5"}, "backlog-bytes"},
		{"no body", nil, []string{"-max-body-bytes", "0"}, "max-body-bytes"},
		{"an argument", nil, []string{"serve"}, "serve"},
		{"address without a port", nil, []string{"-listen", "localhost"}, "localhost"},
		{"every address without a token", nil, []string{"-listen", "0.0.0.0:0"}, "-insecure"},
		{"every address for the admin", nil, []string{"-admin", "0.0.0.0:0"}, "-insecure"},
		{"every address for the metrics", nil, []string{"-metrics", "0.0.0.0:0"}, "-insecure"},
		{"a port that is none", nil, []string{"-listen", "127.0.0.1:99999"}, "-listen"},
		{"an admin port that is none", nil, []string{"-admin", "127.0.0.1:web-2"}, "-admin"},
		{"a queue beyond its bound", nil, []string{"-queue-events", "100000001"}, "100000000"},
		{"queue bytes beyond a number", nil, []string{"-queue-bytes", "9223372036854775808"}, "queue-bytes"},
		{"a backlog beyond its bound", nil, []string{"-backlog-bytes", "1099511627777"}, "1099511627776"},
		{"a batch beyond its bound", nil, []string{"-batch-events", "1000001"}, "1000000"},
		{"a body beyond its bound", nil, []string{"-max-body-bytes", "25165825"}, "25165824"},
		{"bytes with a unit", nil, []string{"-max-body-bytes", "16MiB"}, "max-body-bytes"},
		{"a flag without its value", nil, []string{"-log-level"}, "log-level"},
		{"a retention without a unit", nil, []string{"-retention", "30"}, "such as 24h or 30d"},
		{"a retention in the future", nil, []string{"-retention", "-1h"}, "retention"},
		{"a retention of events in rows", nil, []string{"-retention", "1h", "-layout", "rows"}, "retention"},
		{"unknown layout", nil, []string{"-layout", "columns"}, "columns"},
		{"a certificate that is not there", nil, []string{"-tls-cert", "no-such-cert", "-tls-key", "no-such-key"}, "no-such-cert"},
		{"a certificate that is none", nil, []string{"-tls-cert", "start_test.go", "-tls-key", "start_test.go"}, "-tls-cert"},
		{"a token file that is empty", nil, []string{"-token-file", os.DevNull}, "-token-file"},
		{"a token file that is a folder", nil, []string{"-token-file", "."}, "-token-file"},
		{"a certificate without its key", nil, []string{"-tls-cert", "cert.pem"}, "tls-key"},
		{"a token file that is not there", nil, []string{"-token-file", "no-such-file"}, "no-such-file"},
		{"an unknown name in the file", nil, []string{"-config", file("ack = store\ncolour = red\n")}, `sekali.conf:2: "colour"`},
		{"not a number in the file", nil, []string{"-config", file("queue-bytes = many\n")}, "sekali.conf:1: queue-bytes"},
		{"a bound in the file", nil, []string{"-config", file("\nbatch-events = 0\n")}, "sekali.conf:2"},
		{"a file that is not there", nil, []string{"-config", "no-such.conf"}, "no-such.conf"},
		{"empty data folder", nil, []string{"-data", ""}, "data"},
	} {
		t.Run(bad.name, func(t *testing.T) {
			t.Parallel()
			data := dataFolder(t)
			args := append([]string{"-listen", "127.0.0.1:0", "-admin", "", "-data", data}, bad.args...)
			got := run(t, bad.environ, args...)
			if got.code != 2 {
				t.Errorf("exit code %d, want 2", got.code)
			}
			got.checkOneLine(t)
			if !strings.Contains(got.stderr, bad.names) {
				t.Errorf("the message does not name %s: %s", bad.names, got.stderr)
			}
			if _, err := os.Stat(data); err == nil {
				t.Error("the data folder was created all the same")
			}
		})
	}
}

// TestOpenAddress: a token, a certificate or the word for it opens an address that others can
// reach.
func TestOpenAddress(t *testing.T) {
	cert, key, _ := selfSigned(t)
	for name, flags := range map[string][]string{
		"token": {"-token-file", "start_test.go"}, "TLS": {"-tls-cert", cert, "-tls-key", key}, "insecure": {"-insecure"},
	} {
		t.Run(name, func(t *testing.T) {
			// The last of two -listen counts: the lab gives a loopback address before.
			a := startUnready(t, dataFolder(t), append(flags, "-listen", "0.0.0.0:0")...)
			if host, _, _ := net.SplitHostPort(a.Addr); !net.ParseIP(host).IsUnspecified() {
				t.Errorf("listens on %s", a.Addr)
			}
			a.stop(t)
		})
	}
}

// TestUnfitData: exit code 1, and standard error says why.
func TestUnfitData(t *testing.T) {
	mode := func(name string, mode fs.FileMode) func(*testing.T, string) {
		return func(t *testing.T, data string) {
			start(t, data).stop(t)
			if err := os.Chmod(filepath.Join(data, name), mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, spoil := range map[string]func(t *testing.T, data string){
		"read-only":              mode("", 0o500),
		"the lock is read-only":  mode("lock", 0o400),
		"events.db is read-only": mode("events.db", 0o400),
		"events.db is a folder": func(t *testing.T, data string) {
			if err := os.MkdirAll(filepath.Join(data, "events.db"), 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"is a file": func(t *testing.T, data string) {
			if err := os.WriteFile(data, []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"no database": func(t *testing.T, data string) {
			if err := os.Mkdir(data, 0o700); err != nil {
				t.Fatal(err)
			}
			text := strings.Repeat("this is not a database\n", 1000)
			if err := os.WriteFile(filepath.Join(data, "events.db"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"of a newer schema": func(t *testing.T, data string) {
			start(t, data).stop(t)
			db := openDatabase(t, data)
			defer db.Close()
			if _, err := db.Exec("PRAGMA user_version = 1000000"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := dataFolder(t)
			spoil(t, data)
			got := runAs(t, bound(t), nil, "-listen", "127.0.0.1:0", "-admin", "", "-data", data)
			if got.code != 1 {
				t.Errorf("exit code %d, want 1", got.code)
			}
			got.checkOneLine(t)
			if !strings.Contains(got.stderr, data) {
				t.Errorf("the message does not name %s: %s", data, got.stderr)
			}
		})
	}
}

// bound makes file modes bind a process that root starts: in a user namespace that does not know
// it, it is no more than the owner of its files.
func bound(t *testing.T) *syscall.SysProcAttr {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	attributes := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	probe := exec.Command("true")
	probe.SysProcAttr = attributes
	if err := probe.Run(); err != nil {
		t.Skipf("skipped: modes do not bind root, and there are no user namespaces: %v", err)
	}
	return attributes
}

// TestOrderOfSettings through the level that a request gets without naming one: the flag wins over
// the environment, that over the file, and that over the default.
func TestOrderOfSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sekali.conf")
	if err := os.WriteFile(file, []byte("ack = memory\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		variable string
		flags    []string
		want     string
	}{
		{"", nil, `"ack":"journal"`},
		{"", []string{"-config", file}, `"ack":"memory"`},
		{"store", []string{"-config", file}, `"ack":"store"`},
		{"store", []string{"-config", file, "-ack", "journal"}, `"ack":"journal"`},
	} {
		t.Run(c.want, func(t *testing.T) {
			if c.variable != "" {
				t.Setenv("SEKALI_ACK", c.variable)
			}
			a := start(t, dataFolder(t), c.flags...)
			if _, answer, err := a.publish(requestBody(0), ""); err != nil || !strings.Contains(answer, c.want) {
				t.Errorf("flags %v: answer %s; %v", c.flags, answer, err)
			}
			a.stop(t)
		})
	}
}

// TestHealthcheck is what an image without a shell asks.
func TestHealthcheck(t *testing.T) {
	a := start(t, dataFolder(t))
	if got := run(t, nil, "healthcheck", "-url", a.URL+"/readyz"); got.code != 0 {
		t.Errorf("of a ready aggregator: exit code %d: %s", got.code, got.stderr)
	}
	// In an image it has nothing to go by but the environment of the server.
	if got := run(t, []string{"SEKALI_LISTEN=" + a.Addr}, "healthcheck"); got.code != 0 {
		t.Errorf("by SEKALI_LISTEN: exit code %d: %s", got.code, got.stderr)
	}
	a.stop(t)
	got := run(t, nil, "healthcheck", "-url", a.URL+"/readyz")
	if got.code != 1 {
		t.Errorf("of a stopped aggregator: exit code %d, want 1", got.code)
	}
	got.checkOneLine(t)
}

// TestDataIsPrivate: what is logged may be secret.
func TestDataIsPrivate(t *testing.T) {
	data := dataFolder(t)
	a := start(t, data)
	a.mustPublish(t, requestBody(0), "store")
	err := filepath.WalkDir(data, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 && path != data {
			t.Errorf("%s can be read by others: %s", path, info.Mode())
		}
		if err == nil && path == data && info.Mode().Perm() != 0o700 {
			t.Errorf("the data folder has mode %s, want 0700", info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	a.stop(t)
}
