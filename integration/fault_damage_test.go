package integration_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sekali/bench/result"
)

// newest returns the last file by name that matches, or "".
func newest(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		return ""
	}
	return slices.Max(files)
}

// TestFaultDamage changes the files of a killed aggregator. It must open them at a valid beginning, or refuse with the reason; what it
// shows must be what was sent.
func TestFaultDamage(t *testing.T) {
	program, err := crashBinary() // its small bounds make many runs
	if err != nil {
		t.Fatal(err)
	}
	flip := func(content []byte) []byte {
		content[rand.IntN(len(content))] ^= 1 << rand.IntN(8)
		return content
	}
	for _, damage := range []struct {
		name, files string
		change      func([]byte) []byte
	}{
		{"a cut journal", "journal/*.log", func(b []byte) []byte { return b[:len(b)-1-rand.IntN(len(b)/2)] }},
		{"a flipped bit in the journal", "journal/*.log", flip},
		{"a flipped bit in the WAL", "events.db-wal", flip},
		{"a flipped bit in the database", "events.db", flip},
		{"a flipped bit in a run of keys", "dedup/*.run", flip},
	} {
		t.Run(damage.name, func(t *testing.T) {
			f := result.Fault{Fault: damage.name, Promise: result.PrefixOrRefuse, Times: times(4, 100)}
			whole := dataFolder(t)
			p := newPool(whole)
			a, err := startWith(t, program, nil, whole)
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(400*time.Millisecond, a.kill)
			p.load(t, a.URL, a.Exited())
			var refused, shown, noticed int
			for range f.Times {
				data := filepath.Join(t.TempDir(), "data")
				if err := os.CopyFS(data, os.DirFS(whole)); err != nil {
					t.Fatal(err)
				}
				file := newest(t, filepath.Join(data, damage.files))
				if file == "" {
					t.Fatalf("no %s: the load was too thin", damage.files)
				}
				content, err := os.ReadFile(file)
				if err == nil {
					err = os.WriteFile(file, damage.change(content), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				switch how := lookAt(t, program, data, p, &f); how {
				case "refused":
					refused++
				case "noticed":
					noticed++
				default:
					shown++
				}
				if err := os.RemoveAll(data); err != nil {
					t.Fatal(err)
				}
			}
			f.Seen = fmt.Sprintf("%d opened, %d refused at the start, %d noticed when read or written", shown, refused, noticed)
			record(t, f)
		})
	}
}

// lookAt starts the aggregator on damaged files and reads everything back: "refused" at the start, "noticed" later, or
// "shown", which is then audited.
func lookAt(t *testing.T, program, data string, p *publisherPool, f *result.Fault) string {
	t.Helper()
	a, err := startWith(t, program, nil, data)
	if err != nil {
		if !strings.Contains(err.Error(), "ended before it listened") || strings.Contains(err.Error(), "goroutine ") {
			t.Errorf("not a refusal with its reason: %v", err)
		}
		return "refused"
	}
	defer a.kill()
	for end := time.Now().Add(drainTimeout); ; time.Sleep(samplePeriod) {
		now, err := a.stats()
		if err != nil || !a.ready() {
			return "noticed"
		}
		if now.Queue == 0 {
			break
		}
		if time.Now().After(end) {
			t.Errorf("not drained, and ready all the same: %+v", now)
			return "shown"
		}
	}
	request, err := http.NewRequest(http.MethodGet, a.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/x-ndjson")
	var body bytes.Buffer
	answer, err := a.client.Do(request)
	if err == nil {
		_, err = body.ReadFrom(answer.Body)
		answer.Body.Close()
		if answer.StatusCode == http.StatusInternalServerError {
			t.Errorf("status 500: %s", headOf(body.String()))
		}
	}
	if err != nil || answer.StatusCode != http.StatusOK { // cut off, or refused: it was noticed
		return "noticed"
	}
	p.audit(t, a, f)
	return "shown"
}

// headOf is the beginning of a text, for messages.
func headOf(s string) string { return strings.SplitN(s, "\n", 2)[0] }
