package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExitCodes(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.URL.Path == "/readyz":
		case strings.Contains(string(body), "refuse me"):
			w.WriteHeader(http.StatusUnprocessableEntity)
			io.WriteString(w, `{"accepted":0,"rejected":1}`)
		default:
			w.WriteHeader(http.StatusAccepted)
			io.WriteString(w, `{"ack":"journal","accepted":1,"rejected":0}`)
		}
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, []byte("refuse me\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   string
		code   int
		stdout string
		stderr string
	}{
		{"publish -count 1 -url " + server.URL, 0, `"acknowledged":1`, ""},
		{"publish -lines -topic t -input " + file + " -url " + server.URL, 1, `"refused":1`, "not everything was acknowledged"},
		{"publish -h", 0, "-duplicates", ""},
		{"publish -count many", 2, "", "-count"},
		{"publish -input /does/not/exist", 2, "", "/does/not/exist"},
		{"-h", 0, "loadgen publish", ""},
		{"--help", 0, "loadgen publish", ""},
		{"help", 0, "loadgen publish", ""},
		{"publish --help", 0, "-duplicates", ""},
		{"--version", 0, "loadgen development", ""},
		{"-version", 0, "loadgen development", ""},
		{"", 2, "", "usage"},
		{"subscribe", 2, "", "usage"},
	} {
		var stdout, stderr strings.Builder
		code := run(t.Context(), strings.Fields(c.args), &stdout, &stderr)
		if code != c.code || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
			t.Errorf("%s: exit %d, %q, %q", c.args, code, stdout.String(), stderr.String())
		}
		if code == 2 && strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: not one line: %q", c.args, stderr.String())
		}
	}
}
