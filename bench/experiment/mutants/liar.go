package mutants

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxBody bounds what the proxy holds of one body.
const maxBody = 64 << 20

// liar is the proxy of one mutant.
type liar struct {
	mutant
	honest *httputil.ReverseProxy
	data   string // the aggregator's folder
	told   string // the file that says that a lie was told
	life   int    // from 1: how often the aggregator was started on its data folder

	telling sync.Once
	holding sync.Mutex
	held    bool // the database is locked

	mu     sync.Mutex
	random *rand.Rand
	seen   map[string]string // what a mutant remembers of events
	known  map[string]bool   // connections that have been served
	latest time.Time         // the last request to store something
}

func newLiar(m mutant, told, addr, data string) *liar {
	l := &liar{mutant: m, data: data, told: told, life: lives(data), random: rand.New(rand.NewPCG(1, 1)), seen: map[string]string{}, known: map[string]bool{}}
	l.honest = httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	l.honest.FlushInterval = -1
	l.honest.Transport = &http.Transport{Proxy: nil, DisableCompression: true, MaxIdleConnsPerHost: 64}
	l.honest.ErrorHandler = func(http.ResponseWriter, *http.Request, error) {
		panic(http.ErrAbortHandler) // as an aggregator that is gone
	}
	l.honest.ModifyResponse = l.answer
	return l
}

// lives counts the starts in a file beside the data folder.
func lives(data string) int {
	path := data + ".lives"
	text, _ := os.ReadFile(path) // absent before the first
	n, _ := strconv.Atoi(string(text))
	if err := os.WriteFile(path, []byte(strconv.Itoa(n+1)), 0o600); err != nil {
		return 1
	}
	return n + 1
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		l.busy()
		if l.load == queue {
			l.hold()
		}
		if l.refuse != nil && l.refuse(l, w, r) {
			return
		}
		if l.publish != nil {
			body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			if events, err := list(body); err == nil {
				honest := appendList(nil, events)
				if body = appendList(nil, l.publish(l, events)); !bytes.Equal(honest, body) {
					l.tell()
				}
			}
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		}
	}
	if l.ask != nil && strings.HasPrefix(r.URL.Path, "/events") {
		query := r.URL.Query()
		l.ask(l, r, query)
		r.URL.RawQuery = query.Encode()
	}
	l.honest.ServeHTTP(w, r)
}

// answer changes what the aggregator has answered.
func (l *liar) answer(r *http.Response) error {
	lies := l.asked == "" || r.Request.URL.Query().Has(l.asked)
	switch path := r.Request.URL.Path; {
	case r.Request.Method == http.MethodPost && l.acknowledge != nil && r.StatusCode < 300:
		return l.rewrite(r, l.acknowledge)
	case path == "/stats" && l.stats != nil:
		return l.rewrite(r, l.stats)
	case path == "/backup" && (l.backup != nil || l.backupBytes != nil):
		return l.rewriteBackup(r)
	case path == "/events/stream" && l.stream != nil && lies:
		r.Body = eachLine(r.Body, "data: ", func(e *event) bool { return l.change(e, l.stream) })
	case path == "/events" && strings.Contains(r.Header.Get("Content-Type"), "ndjson"):
		if l.export == nil {
			return nil
		}
		r.Header.Del("Content-Length")
		r.ContentLength = -1
		r.Body = eachLine(r.Body, "", func(e *event) bool { return l.change(e, l.export) })
	case path == "/events" && l.page != nil && lies:
		return l.rewritePage(r)
	}
	return nil
}

// rewrite hands a JSON object to change.
func (l *liar) rewrite(r *http.Response, change func(*liar, *http.Response, *event)) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	r.Body.Close()
	if err != nil {
		return err
	}
	if e, err := readEvent(body); err == nil {
		status, honest := r.StatusCode, e.append(nil)
		change(l, r, &e)
		if body = e.append(nil); r.StatusCode != status || !bytes.Equal(honest, body) {
			l.tell()
		}
	}
	l.give(r, body)
	return nil
}

func (l *liar) give(r *http.Response, body []byte) {
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	r.ContentLength, r.Body = int64(len(body)), io.NopCloser(bytes.NewReader(body))
}

// rewritePage hands each event of a page to the mutant.
func (l *liar) rewritePage(r *http.Response) error {
	return l.rewrite(r, func(l *liar, _ *http.Response, page *event) {
		events, err := list(page.values["events"])
		if err != nil {
			return
		}
		honest, kept := appendList(nil, events), events[:0]
		for _, e := range events {
			if l.page(l, &e) {
				kept = append(kept, e)
			}
		}
		if lie := appendList(nil, kept); !bytes.Equal(honest, lie) {
			page.values["events"] = lie
		}
	})
}

// rewriteBackup changes a copy of the database, and its checksum with it.
func (l *liar) rewriteBackup(r *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	r.Body.Close()
	if err != nil || r.StatusCode != http.StatusOK {
		l.give(r, body)
		return err
	}
	honest := sha256.Sum256(body)
	if l.backup != nil {
		if body, err = changed(body, l.backup); err != nil {
			return err
		}
	}
	if l.backupBytes != nil {
		body = l.backupBytes(body)
	}
	sum := sha256.Sum256(body)
	if sum != honest {
		l.tell()
	}
	r.Header.Set("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":")
	l.give(r, body)
	return nil
}

// one says, for one in n of what it is asked for, that it is the one.
func (l *liar) one(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.random.IntN(n) == 0
}

// first says that the request is the first of its connection.
func (l *liar) first(r *http.Request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() { l.known[r.RemoteAddr] = true }()
	return !l.known[r.RemoteAddr]
}

func (l *liar) busy() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latest = time.Now()
}

// idle says that something was sent, and nothing for so long.
func (l *liar) idle(d time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.latest.IsZero() && time.Since(l.latest) > d
}

// slow is how long the slow mutants wait.
const slow = 300 * time.Millisecond
