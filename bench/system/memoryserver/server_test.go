package memoryserver

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTornRequest: a SIGKILL may end a request's write anywhere. Only that request is gone, also
// after the next life has written behind it.
func TestTornRequest(t *testing.T) {
	t.Parallel()
	publish := func(s *Server, id string) {
		t.Helper()
		body := `[{"topic":"t","event_id":"` + id + `","timestamp":"2026-11-23T06:41:10Z"}]`
		answer := httptest.NewRecorder()
		s.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/publish?ack=store", strings.NewReader(body)))
		if answer.Code != http.StatusOK {
			t.Fatal(answer.Code, answer.Body)
		}
	}
	whole := filepath.Join(t.TempDir(), "whole")
	s, err := Open(whole)
	if err != nil {
		t.Fatal(err)
	}
	publish(s, "first")
	first, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	publish(s, "second")
	both, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for end := len(first); end <= len(both); end++ {
		path := filepath.Join(t.TempDir(), "torn")
		if err := os.WriteFile(path, both[:end], 0o600); err != nil {
			t.Fatal(err)
		}
		want := 1
		if end >= len(both)-1 { // but for the line's end, which nothing needs
			want = 2
		}
		for life := range 3 {
			s, err := Open(path)
			if err != nil || s.Stored() != want+life {
				t.Fatalf("%d of %d bytes, life %d: %v, %+v", end, len(both), life, err, s)
			}
			publish(s, "later"+strings.Repeat("r", life))
		}
	}
}

// TestBadRequest: a request that is refused is not kept, and the next life starts.
func TestBadRequest(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	s.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/publish", strings.NewReader(`[{"topic":1} nonsense`)))
	if answer.Code != http.StatusBadRequest {
		t.Error(answer.Code, answer.Body)
	}
	if s, err := Open(path); err != nil || s.Stored() != 0 {
		t.Error(s, err)
	}
}
