package integration_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
)

// otherwise is a node that gives one event otherwise than it is stored.
func otherwise(t *testing.T, node, from, to string) string {
	t.Helper()
	target, err := url.Parse(node)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(answer *http.Response) error {
		body, err := io.ReadAll(answer.Body)
		answer.Body = io.NopCloser(bytes.NewReader(bytes.Replace(body, []byte(from), []byte(to), 1)))
		answer.Header.Del("Content-Length")
		answer.ContentLength = -1
		return err
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.URL
}

// TestClusterCheckFinds: one replica gives an event otherwise than the others. The hashes are those
// of what was decided, and agree; `cluster check -deep` names the event, its seq and the nodes.
func TestClusterCheckFinds(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped: it takes a quarter of a minute")
	}
	c := startCluster(t)
	c.nodes[0].mustPublish(t, batch("e", 10), "store")
	c.settle(t)
	check := []string{"cluster", "check", "-cluster", c.urls}
	runCommand(t, 0, check...)
	runCommand(t, 2, append(check, "-deep")...)
	runCommand(t, 0, append(check, "-deep", "-peers", c.peers())...)
	liar := otherwise(t, c.nodes[1].URL, `"event_id":"e-2","timestamp":"2026`, `"event_id":"e-2","timestamp":"2027`)
	said := runCommand(t, 1, append(check, "-deep", "-peers", strings.Join([]string{c.nodes[0].URL, liar, c.nodes[2].URL}, ","))...)
	for _, want := range []string{"the first difference is at seq 3", `event_id "e-2"`, "a and c have", "b have", "2027"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in %s", want, said)
		}
	}
	lacks := otherwise(t, c.nodes[1].URL, `{"seq":10,`, `{"seq":11,`)
	if said := runCommand(t, 1, append(check, "-deep", "-peers", c.nodes[0].URL+","+lacks)...); !strings.Contains(said, "seq 10") || !strings.Contains(said, "b have not") {
		t.Errorf("of an event that is not there: %s", said)
	}
}
