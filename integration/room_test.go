package integration_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tmpfsOf mounts a disk of so many bytes until the test ends, or skips.
func tmpfsOf(t *testing.T, bytes int) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("skipped: mounting a file system needs root")
	}
	mount := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprint("size=", bytes), "sekali", mount).CombinedOutput(); err != nil {
		t.Skipf("skipped: mount -t tmpfs: %v %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", mount).Run() })
	return mount
}

// flood publishes requests of 500 events from 20 publishers until stopped, and returns how many
// events were acknowledged, and how often each code came with 503. It sets full at the first
// disk_full.
func flood(t *testing.T, a *aggregator, ack string, body func(request int) []byte, full *atomic.Bool, stop <-chan struct{}) (acknowledged int, codes map[string]int) {
	var mu sync.Mutex
	var all sync.WaitGroup
	next := 0
	codes = map[string]int{}
	for range 20 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				mu.Lock()
				request := next
				next++
				mu.Unlock()
				status, text, err := a.publish(body(request), ack)
				mu.Lock()
				switch {
				case err != nil: // it is being stopped
				case status == http.StatusOK || status == http.StatusAccepted:
					acknowledged += floodEvents
				case status == http.StatusServiceUnavailable:
					for _, code := range []string{"disk_full", "disk_failing", "queue_full", "backlog_full", "shutting_down", "busy"} {
						if strings.Contains(text, `"`+code+`"`) {
							codes[code]++
						}
					}
					if codes["disk_full"] > 0 {
						full.Store(true)
					}
				default:
					t.Errorf("%d %s", status, text)
				}
				mu.Unlock()
				if err != nil || status == http.StatusServiceUnavailable {
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	all.Wait()
	return acknowledged, codes
}

const floodEvents = 500

// noise is text that hardly gets smaller when it is packed.
var noise = sync.OnceValue(func() string {
	bytes := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{}).Read(bytes)
	return base64.RawURLEncoding.EncodeToString(bytes)
})

// noiseText is so many bytes of noise, others for each n of many.
func noiseText(n, bytes int) string {
	from := n * 7919 % (len(noise()) - bytes)
	return noise()[from : from+bytes]
}

// floodBody is such a request; every so many events have a topic of their own.
func floodBody(topics, payload int) func(int) []byte {
	return func(request int) []byte {
		var b bytes.Buffer
		b.WriteByte('[')
		for i := range floodEvents {
			if i > 0 {
				b.WriteByte(',')
			}
			n, text := request*floodEvents+i, ""
			if payload > 0 {
				text = `,"payload":"` + noiseText(n, payload) + `"`
			}
			// Ids in no order: of those that rise, a table's neighbours share pages.
			fmt.Fprintf(&b, `{"topic":"t%d","event_id":"%016x","timestamp":"2026-11-23T06:41:10Z"%s}`,
				n%topics, uint64(n)*0x9e3779b97f4a7c15, text)
		}
		b.WriteByte(']')
		return b.Bytes()
	}
}

// TestRoomForWhatWaits: on a small disk that publishers fill, what is acknowledged fits with all
// its copies, at every level. The disk is full, it never fails, a stop loses nothing, and a start
// on it goes well.
func TestRoomForWhatWaits(t *testing.T) {
	t.Parallel()
	const disk = 64 << 20
	for _, c := range []struct {
		name, ack       string
		topics, payload int
		fills           bool // fast enough to fill the disk
		flags           []string
	}{
		{"memory", "memory", 1, 200, true, nil},
		{"store", "store", 1, 500, true, nil},
		{"memory, tiny events of many topics", "memory", 1000, 0, false, []string{"-queue-events", "50000"}},
		{"memory, an event a transaction", "memory", 1, 200, false, []string{"-batch-events", "1", "-queue-events", "5000"}},
		{"memory, rows and table", "memory", 1, 200, true, []string{"-layout", "rows", "-dedup", "table"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			data := filepath.Join(tmpfsOf(t, disk), "data")
			a := start(t, data, c.flags...)
			stop := make(chan struct{})
			acknowledged, codes := 0, map[string]int{}
			var flooding sync.WaitGroup
			var full atomic.Bool
			flooding.Go(func() { acknowledged, codes = flood(t, a, c.ack, floodBody(c.topics, c.payload), &full, stop) })
			began := time.Now()
			// A slow machine takes longer to fill it.
			for n := 0; n < 40 || c.fills && !full.Load() && time.Since(began) < time.Minute; n++ {
				time.Sleep(50 * time.Millisecond)
				if _, text, err := a.publish([]byte("[]"), ""); err != nil || strings.Contains(text, "disk_failing") {
					t.Errorf("%s %v", text, err)
				}
			}
			a.stop(t)
			close(stop)
			flooding.Wait()
			t.Logf("%d acknowledged, refused: %v", acknowledged, codes)
			if codes["disk_failing"] > 0 || strings.Contains(a.log.String(), "store failing") {
				t.Errorf("the disk is full, and was said to fail")
			}
			if codes["disk_full"] == 0 && c.fills {
				t.Errorf("the disk was never full: %v", codes)
			}
			a = startUnready(t, data, c.flags...)
			if got := a.drained(t); got.Unique < acknowledged {
				t.Errorf("%d events are stored, %d were acknowledged", got.Unique, acknowledged)
			}
			a.stop(t)
			if code, out := tool(t, "check", "-data", data); code != 0 {
				t.Errorf("check: %d %s", code, out)
			}
		})
	}
}

// TestWALIsGivenBack: a reader from outside makes the WAL long. When it has gone and the disk is
// full, the aggregator is ready again as soon as it is idle, for it takes its own file from the
// disk before it calls that full; and so does a start.
func TestWALIsGivenBack(t *testing.T) {
	mount := tmpfsOf(t, 64<<20)
	data := filepath.Join(mount, "data")
	a := start(t, data)
	a.mustPublish(t, []byte(oneEvent("before")), "store")
	db := openDatabase(t, data)
	var n int
	if _, err := db.Exec("BEGIN"); err != nil {
		t.Fatal(err)
	}
	if err := db.QueryRow("SELECT count(*) FROM state").Scan(&n); err != nil {
		t.Fatal(err)
	}
	for request := range 80 { // 10 MB
		a.mustPublish(t, floodBody(1, 200)(request), "store")
	}
	wal := func() int64 {
		info, err := os.Stat(filepath.Join(data, "events.db-wal"))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	if wal() < 8<<20 {
		t.Fatalf("the WAL has %d bytes", wal())
	}
	if _, err := db.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	// The WAL has yet to be copied: leave room for that, and for less than is kept beside it.
	var disk unix.Statfs_t
	if err := unix.Statfs(mount, &disk); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(data, "events.db")); err != nil || info.Size() > 4<<20 {
		t.Fatal("the reader did not hold the WAL", info.Size(), err)
	}
	foreign := int64(disk.Bavail)*disk.Bsize - wal() - 3<<20
	if err := os.WriteFile(filepath.Join(mount, "foreign"), make([]byte, foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	// Or the file has gone already: it is given back within a tick.
	for end := time.Now().Add(readyTimeout); a.ready() && wal() > 0; time.Sleep(samplePeriod) {
		if time.Now().After(end) {
			t.Fatal("ready, with 3 MiB beside what the WAL needs")
		}
	}
	deadline := time.Now().Add(readyTimeout)
	for ; !a.ready() && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
	}
	if !a.ready() || wal() != 0 {
		t.Errorf("ready: %v, the WAL has %d bytes", a.ready(), wal())
	}
	a.mustPublish(t, []byte(oneEvent("after")), "store")
	a.stop(t)
}

// TestStartOnAFullDisk: others have left no byte. What was acknowledged is there and can be read
// after a SIGKILL and after a stop; nothing is taken until there is room, and then all goes on by
// itself.
func TestStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"SIGKILL", "SIGTERM"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			mount := tmpfsOf(t, 64<<20)
			data := filepath.Join(mount, "data")
			a := start(t, data)
			for request := range 20 {
				a.mustPublish(t, floodBody(1, 200)(request), []string{"journal", "store"}[request%2])
			}
			if end == "SIGTERM" {
				a.stop(t)
			}
			foreign := filepath.Join(mount, "foreign")
			if err := os.WriteFile(foreign, make([]byte, 64<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			if end == "SIGKILL" {
				a.kill()
			}
			a = startUnready(t, data)
			if got := a.drained(t); got.Unique != 20*floodEvents {
				t.Errorf("%+v", got)
			}
			if lines := strings.Count(string(a.export(t)), "\n"); lines != 20*floodEvents {
				t.Errorf("%d events are shown", lines)
			}
			if status, text, err := a.publish([]byte(oneEvent("full")), "memory"); err != nil || !strings.Contains(text, `"disk_full"`) {
				t.Error(status, text, err)
			}
			if err := os.Remove(foreign); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(readyTimeout); !a.ready() && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			}
			a.mustPublish(t, []byte(oneEvent("room")), "store")
			a.stop(t)
		})
	}
}
