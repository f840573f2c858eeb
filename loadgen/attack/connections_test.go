package attack

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestFirstAnswers has a server that is slow in the first answer of each connection, and one that
// is not.
func TestFirstAnswers(t *testing.T) {
	const slow = 60 * time.Millisecond
	for _, lies := range []bool{false, true} {
		known := map[string]bool{}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if lies && !known[r.RemoteAddr] {
				time.Sleep(slow)
			}
			known[r.RemoteAddr] = true
		}))
		d := &dialer{}
		for range 3 {
			transport := &http.Transport{Proxy: nil, DialContext: d.dial}
			for range 5 {
				request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, server.URL, strings.NewReader("body"))
				if err != nil {
					t.Fatal(err)
				}
				answer, err := transport.RoundTrip(request)
				if err != nil {
					t.Fatal(err)
				}
				answer.Body.Close()
			}
			transport.CloseIdleConnections()
		}
		server.Close()
		seen := d.connections()
		if seen.Opened != 3 || len(seen.First) != 3 || (seen.Median() >= slow) != lies {
			t.Errorf("slow %v: %+v", lies, seen)
		}
	}
}
