package integration_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sekali/bench/labtest/chromiumtest"
)

// pageFile is the page as it lies in the program.
const pageFile = "../aggregator/internal/api/dashboard.html"

// fakeServer answers the page as an aggregator might, and notes what the page asks.
type fakeServer struct {
	*httptest.Server
	stream http.HandlerFunc
	last   atomic.Int64 // last_seq; grows at every poll
	epoch  atomic.Int64 // of the log; 0: it is no cluster's
	grows  int64

	mu      sync.Mutex
	streams []string // the parameter after of each
	pages   int      // that began at 0, where every search begins
}

// startFake serves the page with some of its constants changed, in pairs of old and new text.
func startFake(t *testing.T, stream http.HandlerFunc, changed ...string) *fakeServer {
	t.Helper()
	text, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	page := strings.NewReplacer(changed...).Replace(string(text))
	f := &fakeServer{stream: stream}
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, page) })
	mux.HandleFunc("/stats", func(w http.ResponseWriter, r *http.Request) {
		cluster := ""
		if epoch := f.epoch.Load(); epoch > 0 {
			cluster = fmt.Sprintf(`"cluster":{"epoch":%d},`, epoch)
		}
		fmt.Fprintf(w, `{"started_at":"x","version":"x","ready":true,"topics":[{"name":"rare"}],%s"last_seq":%d,
			"received":0,"unique_processed":0,"duplicate_dropped":0,"conflicts":0,"failed":0,"expired":0,"queue_depth":0,
			"backlog_bytes":0,"store":{"db_bytes":0,"wal_bytes":0},"histograms":{"processing_latency_us":[]}}`, cluster, f.last.Add(f.grows))
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if r.FormValue("after") == "0" {
			f.pages++
		}
		io.WriteString(w, `{"events":[],"next_after":null}`)
	})
	mux.HandleFunc("/events/stream", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.streams = append(f.streams, r.FormValue("after"))
		f.mu.Unlock()
		f.stream(w, r)
	})
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	t.Cleanup(f.CloseClientConnections) // of the streams that stay open
	return f
}

// asked waits until what the page asked is so.
func (f *fakeServer) asked(t *testing.T, what string, is func(streams []string, pages int) bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		f.mu.Lock()
		ok, streams, pages := is(f.streams, f.pages), f.streams, f.pages
		f.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so: streams after %q, %d searches", what, streams, pages)
		}
	}
}

// tell sends a frame at once.
func tell(w http.ResponseWriter, frame string) {
	io.WriteString(w, frame+"\n\n")
	http.NewResponseController(w).Flush()
}

// openPage opens a page in a tab of its own.
func openPage(t *testing.T, chrome context.Context, url string) context.Context {
	t.Helper()
	tab, cancel := chromedp.NewContext(chrome)
	t.Cleanup(cancel)
	if err := chromedp.Do(tab); err != nil {
		t.Fatal(err)
	}
	tab, cancel = context.WithTimeout(tab, browserTimeout)
	t.Cleanup(cancel)
	if err := chromedp.Do(tab, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	return tab
}

// TestPageFollowsInChromium: the page goes on where its stream broke, in a cluster too, begins anew
// where that is refused, and leaves a stream that says nothing; and it has patience with one that
// has little to say.
func TestPageFollowsInChromium(t *testing.T) {
	t.Parallel()
	chrome := chromiumtest.Start(t)
	t.Run("a stream of a cluster breaks", func(t *testing.T) {
		f := startFake(t, func(w http.ResponseWriter, r *http.Request) { tell(w, "id: 1-7") })
		openPage(t, chrome, f.URL)
		f.asked(t, "it goes on", func(streams []string, _ int) bool { return len(streams) > 1 && streams[1] == "1-7" })
	})
	t.Run("a cluster goes on with a new log", func(t *testing.T) {
		var f *fakeServer
		f = startFake(t, func(w http.ResponseWriter, r *http.Request) {
			if epoch := fmt.Sprint(f.epoch.Load(), "-"); !strings.HasPrefix(r.FormValue("after"), epoch) {
				http.Error(w, "", http.StatusConflict)
			} else {
				tell(w, "id: "+epoch+"7")
				f.epoch.Store(2)
			}
		})
		f.epoch.Store(1)
		openPage(t, chrome, f.URL)
		f.asked(t, "it begins anew", func(streams []string, _ int) bool {
			return len(streams) > 2 && strings.Join(streams[:3], " ") == "1-0 1-7 2-0"
		})
	})
	t.Run("a place is refused", func(t *testing.T) {
		f := startFake(t, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "", http.StatusConflict) })
		tab := openPage(t, chrome, f.URL)
		f.asked(t, "it begins anew", func(_ []string, pages int) bool { return pages > 1 })
		until(t, tab, "it says so", `fault.textContent.includes("409")`)
	})
	t.Run("a stream says nothing", func(t *testing.T) {
		f := startFake(t, func(w http.ResponseWriter, r *http.Request) {
			tell(w, "id: 7")
			<-r.Context().Done()
		}, "silence = 20000", "silence = 1000")
		openPage(t, chrome, f.URL)
		f.asked(t, "it asks again", func(streams []string, _ int) bool { return len(streams) > 1 && streams[1] == "7" })
	})
	t.Run("a stream of a rare topic", func(t *testing.T) {
		var f *fakeServer
		f = startFake(t, func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				tell(w, fmt.Sprint("id: ", f.last.Load()))
				time.Sleep(500 * time.Millisecond)
			}
		}, "period = 2000", "period = 400") // a fifth, and a tenth of the 5 s of a quiet stream
		f.grows = 60_000
		openPage(t, chrome, f.URL)
		f.asked(t, "it polls", func([]string, int) bool { return f.last.Load() > 20*f.grows })
		f.asked(t, "it stays", func(streams []string, pages int) bool { return len(streams) == 1 && pages == 1 })
	})
}

// TestPageShowsInChromium: the newest events are the newest where they are large, a payload's
// numbers stay as they were sent, a chart has a gap where there is nothing to draw, and a token
// that may not read all is told so.
func TestPageShowsInChromium(t *testing.T) {
	t.Parallel()
	chrome := chromiumtest.Start(t)
	a := start(t, dataFolder(t), "-tokens", writeTokens(t, "s3cret publish,read *", "part read orders"))
	for i := range 6 {
		a.publishAs(t, fmt.Sprint("large-", i), `"`+strings.Repeat("x", 100_000)+`"`, 10)
	}
	tab := openPage(t, chrome, a.URL)
	until(t, tab, "the login", `!login.hidden`)
	evaluate[bool](t, tab, `(token.value = "s3cret", login.requestSubmit(), true)`)
	until(t, tab, "the newest of large events", `document.querySelector("tbody td")?.textContent === "60"`)
	const payload = `{"id":9007199254740993,"price":12.50,"n":1}`
	cell := "document.querySelector('tbody td:last-child').textContent === '" + payload + "'"
	a.publishAs(t, "orders", payload, 1)
	until(t, tab, "live numbers, and their topic", cell+` && [...topic.options].some(o => o.value === "orders")`)
	evaluate[bool](t, tab, `(topic.value = "orders", topic.dispatchEvent(new Event("change")), true)`)
	until(t, tab, "stored numbers", `document.querySelector("tbody").rows.length === 1 && `+cell)
	if !evaluate[bool](t, tab, `(figures.latency.values = [], [5, null, 7].forEach(v => set("latency", "", "", v)),
		figures.latency.line.getAttribute("d")?.split("M").length === 3)`) {
		t.Error("the chart has no gap")
	}
	evaluate[bool](t, tab, `(sessionStorage.setItem("token", "part"), topic.value = "", topic.dispatchEvent(new Event("change")), true)`)
	until(t, tab, "a token of one topic is told so", `fault.textContent.includes("every topic")`)
	evaluate[bool](t, tab, `(topic.value = "orders", topic.dispatchEvent(new Event("change")), true)`)
	until(t, tab, "it reads its topic", `fault.textContent === "" && `+cell)
}
