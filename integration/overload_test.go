package integration_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestMemoryUnderFullSizeBodies floods a process with bodies of the largest size on many times as
// many connections as the bodies' bound has room for. What is refused is 503 with Retry-After, the
// process stays within its bounds, and a publisher of small bodies gets a clear answer each time
// and is taken, in the flood or right after it: the flood takes the processors, and fills the
// journal's bound.
func TestMemoryUnderFullSizeBodies(t *testing.T) {
	const (
		senders  = 100
		duration = 5 * time.Second
		bodySize = 16 << 20
		// 1 GiB is where the collector holds the heap, at the default -queue-bytes; the rest is for what
		// it does not see, SQLite's page caches among it, and for what is allocated before it is done.
		mostRSS = 1280 << 20
	)
	a := start(t, dataFolder(t), "-backlog-bytes", fmt.Sprint(256<<20))
	event := oneEvent("full", `,"payload":"`+strings.Repeat("x", bodySize-200)+`"`)
	body := []byte(event)
	transport := &http.Transport{MaxIdleConnsPerHost: senders}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: requestTimeout}
	var taken, refused, cut atomic.Int64
	var all sync.WaitGroup
	for end, i := time.Now().Add(duration), 0; i < senders; i++ {
		all.Go(func() {
			for time.Now().Before(end) {
				request, err := http.NewRequest(http.MethodPost, a.URL+"/publish", bytes.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				request.Header.Set("Content-Type", "application/json")
				if i%4 == 0 {
					request.ContentLength = -1 // chunked: the size is not announced
				}
				answer, err := client.Do(request)
				if err != nil {
					cut.Add(1) // refused while the body was on its way, and the connection closed
					continue
				}
				text, _ := io.ReadAll(answer.Body)
				answer.Body.Close()
				switch {
				case answer.StatusCode == http.StatusAccepted:
					taken.Add(1)
				case answer.StatusCode == http.StatusServiceUnavailable && answer.Header.Get("Retry-After") != "":
					refused.Add(1)
				default:
					t.Errorf("%s %s", answer.Status, text)
				}
			}
		})
	}
	var small []time.Duration // to the answer
	all.Go(func() {
		busy := 0
		for flood, end := time.Now().Add(duration), time.Now().Add(duration+requestTimeout); time.Now().Before(flood) || len(small) == 0 && time.Now().Before(end); {
			begin := time.Now()
			switch status, text, err := a.publish([]byte(oneEvent(fmt.Sprint("small-", len(small)))), ""); {
			case err == nil && status == http.StatusAccepted:
				small = append(small, time.Since(begin))
			case err == nil && status == http.StatusServiceUnavailable:
				busy++
				time.Sleep(10 * time.Millisecond)
			default:
				t.Errorf("a small body: %d %s %v", status, text, err)
			}
		}
		if len(small) == 0 {
			t.Errorf("no small body was taken, %d times busy", busy)
			return
		}
		slices.Sort(small)
		t.Logf("beside them %d small bodies taken, half of them within %v, and %d times busy", len(small), small[len(small)/2], busy)
	})
	all.Wait()
	usage, err := a.Usage()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bodies of %d MiB taken, %d refused, %d cut; peak RSS %d MiB of %d", taken.Load(), bodySize>>20, refused.Load(), cut.Load(), usage.RSSMaxBytes>>20, mostRSS>>20)
	if taken.Load() == 0 || refused.Load() == 0 {
		t.Error("the flood must be taken in part and refused in part")
	}
	if usage.RSSMaxBytes > mostRSS {
		t.Errorf("peak RSS %d MiB, want %d at most", usage.RSSMaxBytes>>20, mostRSS>>20)
	}
	a.stop(t)
}
