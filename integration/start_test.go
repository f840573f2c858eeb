package integration_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBadFlags: exit code 2 and one line, before anything is created.
func TestBadFlags(t *testing.T) {
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
		{"a certificate without its key", nil, []string{"-tls-cert", "cert.pem"}, "tls-key"},
		{"a token file that is not there", nil, []string{"-token-file", "no-such-file"}, "no-such-file"},
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

// TestUnfitData: exit code 1, and standard error says why.
func TestUnfitData(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, data string){
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
			got := run(t, nil, "-listen", "127.0.0.1:0", "-admin", "", "-data", data)
			if got.code != 1 {
				t.Errorf("exit code %d, want 1", got.code)
			}
			got.checkSaysWhy(t)
		})
	}
}

// TestFlagWinsOverEnvironment through the level that a request gets without naming one.
func TestFlagWinsOverEnvironment(t *testing.T) {
	t.Setenv("SEKALI_ACK", "store")
	for _, want := range []struct {
		flags []string
		ack   string
	}{{nil, `"ack":"store"`}, {[]string{"-ack", "memory"}, `"ack":"memory"`}} {
		a := start(t, dataFolder(t), want.flags...)
		_, answer, err := a.publish(requestBody(0), "")
		if err != nil || !strings.Contains(answer, want.ack) {
			t.Errorf("flags %v: answer %s, want %s; %v", want.flags, answer, want.ack, err)
		}
		a.stop(t)
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
