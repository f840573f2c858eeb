package reader

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStateIsCheckedFirst: a -state that is no position, or cannot be written, is refused before
// anything is asked for, and left as it is.
func TestStateIsCheckedFirst(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the stream was asked for") }))
	defer server.Close()
	for name, c := range map[string]struct{ text, says string }{
		"garbage":         {"garbage", "is no position of loadgen follow: invalid character"},
		"empty":           {"", "is no position of loadgen follow: EOF"},
		"another program": {`{"Files":[],"SavedAt":"2026-01-01T00:00:00Z"}`, "is no position of loadgen follow: json: unknown field"},
		"negative":        {`{"topic":"","seq":-1}`, "the seq -1 is negative"},
		"another topic":   {`{"topic":"a","seq":1}`, `is of the topic "a"`},
	} {
		state := filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(state, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := Run(t.Context(), Config{URL: server.URL, State: state}, io.Discard, io.Discard)
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "-state: "+state) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if text, err := os.ReadFile(state); err != nil || string(text) != c.text {
			t.Errorf("%s: it was changed: %q, %v", name, text, err)
		}
		if left, err := filepath.Glob(state + "?*"); err != nil || len(left) > 0 {
			t.Errorf("%s: left are %v, %v", name, left, err)
		}
	}
	nowhere := filepath.Join(t.TempDir(), "none", "state")
	if err := Run(t.Context(), Config{URL: server.URL, State: nowhere}, io.Discard, io.Discard); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "-state: open "+nowhere) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// TestRefusalIsASentence: a problem is told as its code and its detail, with the flag of the token.
func TestRefusalIsASentence(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"title":"Unauthorized","status":401,"code":"unauthorized","detail":"a token is wanted"}`)
	}))
	defer server.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("t"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"":    "401 Unauthorized: unauthorized: a token is wanted (no -token-file is given)",
		token: "401 Unauthorized: unauthorized: a token is wanted (the token is of -token-file)",
	} {
		var stdout bytes.Buffer
		if err := Run(t.Context(), Config{URL: server.URL, TokenFile: file}, &stdout, io.Discard); err == nil || err.Error() != want || stdout.Len() > 0 {
			t.Errorf("%q: %v, %s", file, err, &stdout)
		}
	}
}
