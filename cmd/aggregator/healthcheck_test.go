package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestHealthcheckSaysWhy: docker shows nothing but what it prints.
func TestHealthcheckSaysWhy(t *testing.T) {
	for answer, want := range map[string]string{
		`{"title":"Service Unavailable","status":503,"code":"disk_full","detail":"no room is left"}`: "aggregator: not ready: 503 Service Unavailable, disk_full: no room is left\n",
		"<html>": "aggregator: not ready: 503 Service Unavailable\n",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, answer)
		}))
		var out strings.Builder
		if code := healthcheck(t.Context(), []string{"-url", server.URL}, io.Discard, &out); code != 1 || out.String() != want {
			t.Errorf("%d %q, want 1 and %q", code, out.String(), want)
		}
		server.Close()
	}
}
