package audit

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"iter"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	// maxHeld bounds the events of an export that other ways of reading are compared with, 32 bytes
	// each: the first ones.
	maxHeld = 200_000
	// maxPages bounds how many pages are read of each kind, spread over what is held.
	maxPages  = 20
	pageLimit = 500
	// maxReadTopics is how many topics are read by themselves.
	maxReadTopics = 3
	// maxIntervals is how many intervals of time are read of each kind.
	maxIntervals = 5
	// streamTimeout bounds the reading of a stream, which does not end by itself.
	streamTimeout = 20 * time.Second
	maxPageBytes  = 64 << 20
	maxStreamed   = 5000
)

// The checks of reading that older records do not have.
const (
	IntervalPages = "interval_page_events_wrong"
	TopicStreams  = "topic_stream_events_wrong"
	BackupEvents  = "backup_events_wrong"
)

// seed is one for all hashes of this process, which are compared with each other only.
var seed = maphash.MakeSeed()

// Reference is what an export gave, as hashes: other ways of reading, and a later export, have to
// give the same.
type Reference struct {
	after  int64 // the export began behind this seq
	held   []held
	topics []string // the first ones
	count  uint64
	sum    uint64

	sightings  []Sighting // by their ends
	sightingAt int        // the first that does not end before the last event
	sighted    []held
}

type held struct {
	seq      int64
	hash     uint64
	topic    uint64
	received int64 // nanoseconds of the epoch
}

// NewReference is of an export that begins behind a seq.
func NewReference(after int64) *Reference { return &Reference{after: after} }

// Add takes the next event.
func (r *Reference) Add(e *Event) {
	hash := hashOf(e)
	r.count++
	r.sum = r.sum*0x9e3779b97f4a7c15 + hash
	r.sight(e.Seq, hash)
	if len(r.held) < maxHeld {
		received, _ := e.Received() // the checker has complained
		r.held = append(r.held, held{e.Seq, hash, maphash.Bytes(seed, e.Topic), received.UnixNano()})
		if len(r.topics) < maxReadTopics && !slices.Contains(r.topics, string(e.Topic)) {
			r.topics = append(r.topics, string(e.Topic))
		}
	}
}

// Tee hands every event on that it takes.
func (r *Reference) Tee(events iter.Seq2[*Event, error]) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		for event, err := range events {
			if err == nil {
				r.Add(event)
			}
			if !yield(event, err) {
				return
			}
		}
	}
}

func hashOf(e *Event) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	var seq [8]byte
	binary.LittleEndian.PutUint64(seq[:], uint64(e.Seq))
	h.Write(seq[:])
	for _, field := range [][]byte{e.Topic, e.EventID, e.Timestamp, e.Source, oneLine(e.Payload), e.ReceivedAt} {
		h.WriteByte(0xff) // no byte of UTF-8
		h.Write(field)
	}
	return h.Sum64()
}

// oneLine is a payload as NDJSON and the stream show it: a line break between tokens is a space.
func oneLine(payload []byte) []byte {
	if bytes.IndexByte(payload, '\n') < 0 && bytes.IndexByte(payload, '\r') < 0 {
		return payload
	}
	return bytes.Map(func(r rune) rune {
		if r == '\n' || r == '\r' {
			return ' '
		}
		return r
	}, payload)
}

// Reader asks a server.
type Reader struct {
	Client     *http.Client
	URL, Token string
}

// get asks for what has to be answered.
func (r Reader) get(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	answer, err := r.ask(ctx, path, query)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return nil, fmt.Errorf("audit: GET %s: %s", path, answer.Status)
	}
	return answer, nil
}

func (r Reader) ask(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	if r.Token != "" {
		request.Header.Set("Authorization", "Bearer "+r.Token)
	}
	answer, err := r.Client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	return answer, nil
}

// Page reads one JSON page; chosen is by what else than after and limit, and may be nil.
func (r Reader) Page(ctx context.Context, chosen url.Values, after int64, limit int) (events []Event, next *int64, err error) {
	query := url.Values{"after": {strconv.FormatInt(after, 10)}, "limit": {strconv.Itoa(limit)}}
	maps.Copy(query, chosen)
	answer, err := r.get(ctx, "/events", query)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	var page struct {
		Events []json.RawMessage `json:"events"`
		Next   *int64            `json:"next_after"`
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxPageBytes))
	if err == nil {
		err = json.Unmarshal(body, &page)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("audit: GET /events: %w", err)
	}
	events = make([]Event, len(page.Events))
	decoder := newDecoder()
	for i, text := range page.Events {
		if err := events[i].read(text, decoder); err != nil {
			return nil, nil, err
		}
	}
	return events, page.Next, nil
}

// differ counts how many of the events are not those of want, in order.
func differ(events []Event, want []held) (wrong uint64) {
	for i := range events {
		if i >= len(want) || hashOf(&events[i]) != want[i].hash {
			wrong++
		}
	}
	return wrong
}

// CheckPages reads pages spread over what is held.
func (r *Reference) CheckPages(ctx context.Context, from Reader) (Check, error) {
	var wrong uint64
	step := max(pageLimit, len(r.held)/maxPages)
	for at := 0; at < len(r.held); at += step {
		after := r.after
		if at > 0 {
			after = r.held[at-1].seq
		}
		events, next, err := from.Page(ctx, nil, after, pageLimit)
		if err != nil {
			return Check{}, err
		}
		wrong += differ(events, r.held[at:])
		// A page may be short, but not without a word of what follows.
		if len(events) == 0 || next == nil && at+len(events) < len(r.held) || next != nil && *next != events[len(events)-1].Seq {
			wrong++
		}
	}
	return None("page_events_wrong", wrong), nil
}

// ofTopic are the events that are held of a topic.
func (r *Reference) ofTopic(topic string) (want []held) {
	hash := maphash.String(seed, topic)
	for _, h := range r.held {
		if h.topic == hash {
			want = append(want, h)
		}
	}
	return want
}

// CheckTopics reads the first page of the topics that the first events have.
func (r *Reference) CheckTopics(ctx context.Context, from Reader) (Check, error) {
	var wrong uint64
	for _, topic := range r.topics {
		want := r.ofTopic(topic)
		events, next, err := from.Page(ctx, url.Values{"topic": {topic}}, r.after, pageLimit)
		if err != nil {
			return Check{}, err
		}
		wrong += differ(events, want)
		if len(events) == 0 || next == nil && len(events) < len(want) {
			wrong++
		}
	}
	return None("topic_page_events_wrong", wrong), nil
}

// CheckIntervals reads the first page of intervals of received_at, some open at an end, spread over
// what is held.
func (r *Reference) CheckIntervals(ctx context.Context, from Reader) (Check, error) {
	var wrong uint64
	step := max(1, len(r.held)/(maxIntervals+1))
	for n := 1; n <= maxIntervals && n*step < len(r.held); n++ {
		since, until := r.held[(n-1)*step].received, r.held[n*step].received
		for _, interval := range [][2]int64{{since, until}, {since, math.MaxInt64}, {math.MinInt64, until}} {
			w, err := r.interval(ctx, from, interval[0], interval[1])
			if err != nil {
				return Check{}, err
			}
			wrong += w
		}
	}
	return None(IntervalPages, wrong), nil
}

// interval counts what is wrong with the page of one interval; the ends of int64 are open ones.
func (r *Reference) interval(ctx context.Context, from Reader, since, until int64) (wrong uint64, err error) {
	chosen := url.Values{}
	if since > math.MinInt64 {
		chosen.Set("since", nanoseconds(since))
	}
	if until < math.MaxInt64 {
		chosen.Set("until", nanoseconds(until))
	}
	var want []held
	for _, h := range r.held {
		if since <= h.received && h.received < until {
			want = append(want, h)
		}
	}
	events, next, err := from.Page(ctx, chosen, r.after, pageLimit)
	if err != nil {
		return 0, err
	}
	wrong = differ(events, want)
	if next == nil && len(events) < len(want) {
		wrong += uint64(len(want) - len(events))
	}
	return wrong, nil
}

func nanoseconds(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }

// CheckStream reads the stream from the export's beginning, up to a bound.
func (r *Reference) CheckStream(ctx context.Context, from Reader) (Check, error) {
	wrong, err := r.streamed(ctx, from, nil, r.held)
	return None("stream_events_wrong", wrong), err
}

// CheckTopicStreams does the same with the streams of topics that the first events have, all at the
// same time: each rests between its pages.
func (r *Reference) CheckTopicStreams(ctx context.Context, from Reader) (Check, error) {
	wrong, failed := make([]uint64, len(r.topics)), make([]error, len(r.topics))
	var reading sync.WaitGroup
	for i, topic := range r.topics {
		reading.Go(func() { wrong[i], failed[i] = r.streamed(ctx, from, url.Values{"topic": {topic}}, r.ofTopic(topic)) })
	}
	reading.Wait()
	var all uint64
	for _, w := range wrong {
		all += w
	}
	return None(TopicStreams, all), errors.Join(failed...)
}

// streamed counts what is wrong with a stream: 1 behind an event that is not the next, or how many
// did not come.
func (r *Reference) streamed(ctx context.Context, from Reader, chosen url.Values, want []held) (wrong uint64, err error) {
	want = want[:min(len(want), maxStreamed)]
	if len(want) == 0 {
		return 0, nil
	}
	bounded, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	query := url.Values{"after": {strconv.FormatInt(r.after, 10)}}
	maps.Copy(query, chosen)
	answer, err := from.get(bounded, "/events/stream", query)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	n := 0
	for event, err := range readStream(answer.Body) {
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) || bounded.Err() != nil {
				break // what is missing is counted
			}
			return 0, err
		}
		if hashOf(event) != want[n].hash {
			return 1, nil // a gap is seen by the number that follows it; the rest would all be wrong
		}
		if n++; n == len(want) {
			break
		}
	}
	return uint64(len(want) - n), nil
}
