package runner

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"sekali/bench/record"
	"sekali/bench/scenario"
)

const (
	// pageReaders read the pages of one kind: more than that are never under way, and a page that
	// waits for one of them is late by it.
	pageReaders = 16
	// readTimeout bounds a page, and the start of a stream.
	readTimeout = 10 * time.Second
	// maxReads bounds what is held, 64 bytes each. What a scenario asks for is far below.
	maxReads = 4_000_000
)

// readers read beside the load, from the first measured phase to the load's end.
type readers struct {
	url     string
	token   string
	topics  []string
	of      []record.Readers
	client  *http.Client
	lastSeq func() int64 // that is known to be committed
	seed    uint64

	from time.Time // before the load: reads by time begin between then and now

	mu    sync.Mutex
	reads []readAt
	lost  bool // there were more than are held
}

// readAt is a record.Read before the attack's start is known.
type readAt struct {
	kind      string
	due, done time.Time
	status    int
	events    int
}

func newReaders(s *session) *readers {
	of := readersOf(s.job.settings)
	connections := 0
	for _, one := range of {
		connections += max(one.Clients, pageReaders)
	}
	return &readers{from: time.Now(), url: s.aggregator.url, token: s.aggregator.token, topics: s.stream.Topics(), of: of, seed: s.stream.Config().Seed,
		client:  &http.Client{Transport: &http.Transport{Proxy: nil, MaxIdleConnsPerHost: connections, DisableCompression: true}},
		lastSeq: func() int64 { return s.sampler.last().stats.LastSeq }}
}

// readersOf are a case's readers as run.json has them.
func readersOf(s scenario.Settings) []record.Readers {
	var all []record.Readers
	for _, r := range s.Readers {
		all = append(all, record.Readers{Kind: r.Kind, Rate: float64(r.Rate), Limit: r.Limit, Clients: r.Clients})
	}
	return all
}

// run reads until ctx ends.
func (r *readers) run(ctx context.Context) {
	began := time.Now()
	var group sync.WaitGroup
	for _, of := range r.of {
		if of.Kind == scenario.ReadStream {
			for i := range of.Clients {
				group.Go(func() { r.follow(ctx, r.topics[i%len(r.topics)]) })
			}
			continue
		}
		var next atomic.Int64
		for worker := range pageReaders {
			random := rand.New(rand.NewPCG(r.seed, uint64(worker)))
			group.Go(func() {
				for {
					due := began.Add(time.Duration(float64(next.Add(1)-1) / of.Rate * float64(time.Second)))
					if !sleep(ctx, time.Until(due)) {
						return
					}
					r.page(ctx, of, random, due)
				}
			})
		}
	}
	group.Wait()
	r.client.CloseIdleConnections()
}

// page reads one page from a place that is chosen at random.
func (r *readers) page(ctx context.Context, of record.Readers, random *rand.Rand, due time.Time) {
	query := url.Values{"limit": {strconv.Itoa(of.Limit)}}
	switch of.Kind {
	case scenario.ReadTime:
		query.Set("since", r.from.Add(time.Duration(random.Int64N(int64(time.Since(r.from))+1))).UTC().Format(time.RFC3339Nano))
	case scenario.ReadTopic:
		query.Set("topic", r.topics[random.IntN(len(r.topics))])
		fallthrough
	default:
		query.Set("after", strconv.FormatInt(random.Int64N(r.lastSeq()+1), 10))
	}
	bounded, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	status, body := r.get(bounded, "/events?"+query.Encode())
	now := time.Now()
	events := 0
	if status == http.StatusOK {
		var page struct {
			Events []json.RawMessage `json:"events"`
		}
		if json.Unmarshal(body, &page) != nil {
			status = 0
		}
		events = len(page.Events)
	}
	if ctx.Err() == nil {
		r.note(readAt{of.Kind, due, now, status, events})
	}
}

// get is the whole answer; status 0: there was none.
func (r *readers) get(ctx context.Context, path string) (status int, body []byte) {
	answer, err := r.ask(ctx, path)
	if err != nil {
		return 0, nil
	}
	defer answer.Body.Close()
	if body, err = io.ReadAll(answer.Body); err != nil {
		return 0, nil
	}
	return answer.StatusCode, body
}

func (r *readers) ask(ctx context.Context, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+path, nil)
	if err != nil {
		return nil, err
	}
	if r.token != "" {
		request.Header.Set("Authorization", "Bearer "+r.token)
	}
	return r.client.Do(request)
}

// follow reads a topic's stream from now on, once. One that ends early is a read that failed.
func (r *readers) follow(ctx context.Context, topic string) {
	began := time.Now()
	status := 0
	answer, err := r.ask(ctx, "/events/stream?topic="+url.QueryEscape(topic))
	if err == nil {
		defer answer.Body.Close()
		if status = answer.StatusCode; status == http.StatusOK {
			status = 0
			_ = r.receive(answer.Body) // it ends with the stream
		}
	}
	if ctx.Err() == nil {
		r.note(readAt{kind: scenario.ReadStream, due: began, done: time.Now(), status: status})
	}
}

// receive notes every event that a stream brings, with the time since the aggregator received it.
func (r *readers) receive(stream io.Reader) error {
	lines := bufio.NewReader(stream)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return err
		}
		text, found := bytes.CutPrefix(line, []byte("data:"))
		if !found {
			continue
		}
		var event struct {
			ReceivedAt time.Time `json:"received_at"`
		}
		if err := json.Unmarshal(text, &event); err != nil {
			return err
		}
		r.note(readAt{scenario.ReadStream, event.ReceivedAt, time.Now(), http.StatusOK, 1})
	}
}

func (r *readers) note(read readAt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.reads) == maxReads {
		r.lost = true
		return
	}
	r.reads = append(r.reads, read)
}

// write writes reads.csv.gz, with times since startedAt.
func (r *readers) write(dir string, startedAt time.Time) (err error) {
	if r.lost {
		return fmt.Errorf("readers: more than %d reads, which are not held", maxReads)
	}
	file, err := os.Create(filepath.Join(dir, record.ReadsFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	rows := make([]record.Read, len(r.reads))
	for i, read := range r.reads {
		rows[i] = record.Read{Kind: read.kind, DueNS: int64(read.due.Sub(startedAt)), DoneNS: int64(read.done.Sub(startedAt)), Status: read.status, Events: read.events}
	}
	return record.WriteReads(file, rows)
}
