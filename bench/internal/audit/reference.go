package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
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
	// streamTimeout bounds the reading of a stream, which does not end by itself.
	streamTimeout = 20 * time.Second
	maxPageBytes  = 64 << 20
	maxStreamed   = 5000
)

// seed is one for all hashes of this process, which are compared with each other only.
var seed = maphash.MakeSeed()

// Reference is what an export gave, as hashes: other ways of reading, and a later export, have to
// give the same.
type Reference struct {
	after int64 // the export began behind this seq
	held  []held
	count uint64
	sum   uint64

	sightings  []Sighting // by their ends
	sightingAt int        // the first that does not end before the last event
	sighted    []held
}

type held struct {
	seq   int64
	hash  uint64
	topic uint64
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
		r.held = append(r.held, held{e.Seq, hash, maphash.Bytes(seed, e.Topic)})
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
	h.WriteString(strconv.FormatInt(e.Seq, 10))
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

func (r Reader) get(ctx context.Context, path string, query url.Values) (*http.Response, error) {
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
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return nil, fmt.Errorf("audit: GET %s: %s", path, answer.Status)
	}
	return answer, nil
}

// Page reads one JSON page; topic "" is of all.
func (r Reader) Page(ctx context.Context, topic string, after int64, limit int) (events []Event, next *int64, err error) {
	query := url.Values{"after": {strconv.FormatInt(after, 10)}, "limit": {strconv.Itoa(limit)}}
	if topic != "" {
		query.Set("topic", topic)
	}
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
	for _, text := range page.Events {
		for event, err := range Read(bytes.NewReader(text)) {
			if err != nil {
				return nil, nil, err
			}
			events = append(events, event.clone())
		}
	}
	return events, page.Next, nil
}

func (e *Event) clone() Event {
	c := *e
	for _, field := range []*[]byte{&c.Topic, &c.EventID, &c.Timestamp, &c.Source, &c.Payload, &c.ReceivedAt} {
		*field = bytes.Clone(*field)
	}
	return c
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
		events, next, err := from.Page(ctx, "", after, pageLimit)
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

// CheckTopics reads the first page of the topics that the first events have.
func (r *Reference) CheckTopics(ctx context.Context, from Reader) (Check, error) {
	first, _, err := from.Page(ctx, "", r.after, pageLimit)
	if err != nil {
		return Check{}, err
	}
	read := map[string]bool{}
	var wrong uint64
	for _, e := range first {
		topic := string(e.Topic)
		if read[topic] || len(read) == maxReadTopics {
			continue
		}
		read[topic] = true
		var want []held
		for _, h := range r.held {
			if h.topic == maphash.Bytes(seed, e.Topic) {
				want = append(want, h)
			}
		}
		events, next, err := from.Page(ctx, topic, r.after, pageLimit)
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

// CheckStream reads the stream from the export's beginning, up to a bound.
func (r *Reference) CheckStream(ctx context.Context, from Reader) (Check, error) {
	bounded, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	answer, err := from.get(bounded, "/events/stream", url.Values{"after": {strconv.FormatInt(r.after, 10)}})
	if err != nil {
		return Check{}, err
	}
	defer answer.Body.Close()
	var wrong uint64
	n, all := 0, min(len(r.held), maxStreamed)
	if all == 0 {
		return None("stream_events_wrong", 0), nil
	}
	for event, err := range readStream(answer.Body) {
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) || bounded.Err() != nil {
				break // what is missing is counted
			}
			return Check{}, err
		}
		if n >= all || hashOf(event) != r.held[n].hash {
			wrong++
		}
		// A gap is seen by the number that follows it; the rest would all be wrong.
		if n++; wrong > 0 || n == all {
			break
		}
	}
	if n < all && wrong == 0 {
		wrong = uint64(all - n)
	}
	return None("stream_events_wrong", wrong), nil
}
