package integration_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// longExport stores more events than an export's page and the kernel's buffers have.
func longExport(t *testing.T, a *aggregator) {
	t.Helper()
	for request := range 5 {
		a.mustPublish(t, arrayOf(request*5000, 5000), "store")
	}
}

// exportWith reads an export, by this version of HTTP and over TLS if it is secure, with little
// room for what has come and is not yet read. Once its beginning is there it calls during, and then
// reads on, as an HTTP client does: an answer that is cut off is an error. Over HTTP/1.0 the
// connection's end is the body's.
func exportWith(t *testing.T, a *aggregator, version string, secure *tls.Config, during func()) (body []byte, err error) {
	t.Helper()
	tcp, err := net.Dial("tcp", a.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	if err := tcp.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	conn := tcp
	if secure != nil {
		conn = tls.Client(tcp, secure)
	}
	if err := conn.SetDeadline(time.Now().Add(2 * requestTimeout)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /events HTTP/%s\r\nHost: x\r\nAccept: application/x-ndjson\r\n\r\n", version)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatal(answer.Status)
	}
	begin := make([]byte, 1<<10)
	if _, err := io.ReadFull(answer.Body, begin); err != nil {
		return nil, err
	}
	during()
	rest, err := io.ReadAll(answer.Body)
	return append(begin, rest...), err
}

// cutExport wants an export that its reader sees is not whole, and whose lines are the first of
// all.
func cutExport(t *testing.T, got []byte, err error, whole []byte) {
	t.Helper()
	if err == nil {
		t.Errorf("an export of %d bytes of %d passes for the whole", len(got), len(whole))
	}
	if lines := got[:bytes.LastIndexByte(got, '\n')+1]; !bytes.HasPrefix(whole, lines) {
		t.Errorf("%d bytes of it are not the first of all", len(lines))
	}
}

// TestExportThatIsCutOff: whatever ends an export before its end, its reader sees it, in HTTP/1.0
// too, which knows no chunks.
func TestExportThatIsCutOff(t *testing.T) {
	certificate, key, roots := selfSigned(t)
	secure := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	for name, way := range map[string]struct {
		version string
		secure  *tls.Config
	}{"HTTP/1.1": {"1.1", nil}, "HTTP/1.0": {"1.0", nil}, "HTTP/1.1 over TLS": {"1.1", secure}, "HTTP/1.0 over TLS": {"1.0", secure}} {
		t.Run(name, func(t *testing.T) {
			data := dataFolder(t)
			begin := func() *aggregator {
				if way.secure == nil {
					return start(t, data)
				}
				return startSecure(t, data, way.secure, "-tls-cert", certificate, "-tls-key", key)
			}
			a := begin()
			longExport(t, a)
			whole, err := exportWith(t, a, way.version, way.secure, func() {})
			if n := bytes.Count(whole, []byte("\n")); err != nil || n != 20_000 {
				t.Fatalf("the whole of it: %v, %d events", err, n)
			}
			got, err := exportWith(t, a, way.version, way.secure, a.kill)
			cutExport(t, got, err, whole)

			a = begin()
			got, err = exportWith(t, a, way.version, way.secure, func() { a.stop(t) })
			cutExport(t, got, err, whole)

			a = begin()
			damageBlock(t, data)
			got, err = exportWith(t, a, way.version, way.secure, func() {})
			cutExport(t, got, err, whole)
			if len(got) < len(whole)/4 {
				t.Errorf("of an export whose middle is damaged only %d bytes of %d came", len(got), len(whole))
			}
			if _, err := a.get("/events?after=12400", applicationJSON); err == nil || !strings.Contains(err.Error(), ": damaged") || !strings.Contains(err.Error(), "block ") {
				t.Errorf("a page of it: %v, want which block is damaged", err)
			}
			a.stop(t)
		})
	}
}

// startSecure is start over TLS.
func startSecure(t *testing.T, data string, config *tls.Config, flags ...string) *aggregator {
	t.Helper()
	a := startUnready(t, data, flags...)
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	a.client.Transport, a.URL = transport, "https://"+a.Addr
	for deadline := time.Now().Add(readyTimeout); !a.ready(); time.Sleep(samplePeriod) {
		if time.Now().After(deadline) {
			t.Fatal("not ready")
		}
	}
	return a
}

// damageBlock damages a block in the middle of the events.
func damageBlock(t *testing.T, data string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(data, "events.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("UPDATE blocks SET checksum = checksum + 1 WHERE first_seq = (SELECT max(first_seq) FROM blocks WHERE first_seq < 12500)"); err != nil {
		t.Fatal(err)
	}
}

// TestReadersThatStopRefuseNobody: readers that stop in the middle of an export take all the room
// that pages and long answers have. A sender whose answer is long, and a reader of a page, come
// through all the same, and soon.
func TestReadersThatStopRefuseNobody(t *testing.T) {
	const (
		readers = 200
		items   = 20_000           // whose answer takes more than a page
		soon    = 15 * time.Second // of the 30 for which a page may be unread
	)
	a := start(t, dataFolder(t))
	longExport(t, a)
	for range readers {
		conn, err := net.Dial("tcp", a.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "GET /events HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n\r\n")
	}
	for deadline := time.Now().Add(requestTimeout); ; time.Sleep(samplePeriod) {
		if status, _, _ := a.send(t, http.MethodGet, sent{path: "/events?limit=1000"}); status == http.StatusServiceUnavailable {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("they do not take all the room")
		}
	}
	var bulk strings.Builder
	for i := range items {
		fmt.Fprintf(&bulk, "{\"create\":{\"_index\":\"i\",\"_id\":\"%d\"}}\n{}\n", i)
	}
	for name, request := range map[string]sent{"bulk": {path: "/_bulk", body: bulk.String()}, "a page": {path: "/events?limit=1000"}} {
		method := http.MethodGet
		if request.body != "" {
			method = http.MethodPost
		}
		for began := time.Now(); ; time.Sleep(time.Second) { // as Retry-After asks
			status, text, _ := a.send(t, method, request)
			if status == http.StatusOK {
				t.Logf("%s came through after %v", name, time.Since(began))
				break
			}
			if time.Since(began) > soon {
				t.Errorf("%s: %d %.200s after %v", name, status, text, soon)
				break
			}
		}
	}
	a.stop(t)
}
