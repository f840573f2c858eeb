package api

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/store"
)

// TestBackup: the answer is a whole database with its checksum. While it leaves nobody else gets
// one. Whoever does not read it in time is cut off, and makes room for the next. No file is left.
func TestBackup(t *testing.T) {
	const patience = 20 * time.Second
	dir := t.TempDir()
	s, _, err := store.Open(dir, store.Design{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fillStore(t, s)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := New(Config{MaxBodyBytes: 1 << 20}, nil, s, slog.New(slog.NewTextHandler(t.Output(), nil)))
	a.backupBase = 2 * time.Second
	served := make(chan error, 1)
	go func() { served <- a.Serve(ln, nil) }()
	client := &http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	url := "http://" + ln.Addr().String() + "/backup"
	get := func() (*http.Response, []byte) {
		t.Helper()
		answer, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		return answer, body
	}
	answer, body := get()
	sum := sha256.Sum256(body)
	if want := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"; answer.StatusCode != 200 || answer.Header.Get("Content-Digest") != want || answer.ContentLength != int64(len(body)) {
		t.Fatalf("%s, %v, %d bytes, want %s", answer.Status, answer.Header, len(body), want)
	}
	copied := t.TempDir()
	if err := os.WriteFile(filepath.Join(copied, store.File), body, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, faults, err := store.Check(t.Context(), copied); err != nil || len(faults) > 0 {
		t.Errorf("the copy: %v, %v", faults, err)
	}
	awaitCopying(t, a, false) // it is given back a moment after its reader has all
	slow, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if err := slow.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(slow, "GET /backup HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	awaitCopying(t, a, true)
	if answer, body := get(); answer.StatusCode != 503 || !strings.Contains(string(body), `"busy"`) {
		t.Errorf("a second copy: %s %s", answer.Status, body)
	}
	awaitCopying(t, a, false)
	if answer, _ := get(); answer.StatusCode != 200 {
		t.Errorf("after the slow reader: %s", answer.Status)
	}
	awaitCopying(t, a, false)
	if left, err := filepath.Glob(filepath.Join(dir, "copying*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := a.Shutdown(patience); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestBackupOutOfTime: that a copy is not made in its time says nothing against the disk.
func TestBackupOutOfTime(t *testing.T) {
	s, _, err := store.Open(t.TempDir(), store.Design{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fillStore(t, s)
	a := New(Config{MaxBodyBytes: 1 << 20}, nil, s, slog.New(slog.NewTextHandler(t.Output(), nil)))
	for _, budget := range []time.Duration{time.Nanosecond, 5 * time.Millisecond} { // before it begins, within it
		a.backupBudget = budget
		var ctx fasthttp.RequestCtx
		a.backup(&ctx)
		if body := string(ctx.Response.Body()); ctx.Response.StatusCode() != 503 || !strings.Contains(body, `"busy"`) {
			t.Errorf("%v: %d %.200q", budget, ctx.Response.StatusCode(), body)
		}
	}
}

// fillStore stores more than the kernel's buffers hold.
func fillStore(t *testing.T, s *store.Store) {
	t.Helper()
	apply := store.NewApplier(s)
	batch := s.NewBatch()
	for i := range 130 {
		r := store.Row{ReceivedAt: "2026-11-23T06:41:10.000000000Z"}
		r.Topic, r.ID, r.Timestamp, r.Payload = "t", fmt.Sprint(i), "2026-11-23T06:41:10Z", `"`+noise(i, 60_000)+`"`
		batch.Rows = append(batch.Rows, r)
	}
	batch.Prepare()
	if out, err := apply.Apply(store.State{}, batch); err != nil || out.State.UniqueProcessed != int64(len(batch.Rows)) {
		t.Fatalf("%+v, %v", out.State, err)
	}
}

// noise is text that does not pack.
func noise(seed, n int) string {
	var b strings.Builder
	for i := uint64(seed) + 1; b.Len() < n; i = i*6364136223846793005 + 1442695040888963407 {
		sum := sha256.Sum256([]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24), byte(i >> 32), byte(seed)})
		b.WriteString(base64.RawURLEncoding.EncodeToString(sum[:]))
	}
	return b.String()[:n]
}

func awaitCopying(t *testing.T, a *Server, copying bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); a.copying.Load() != copying; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("copying is not %v", copying)
		}
	}
}
