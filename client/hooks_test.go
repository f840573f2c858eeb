package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sekali/client"
)

// TestRetry: what Retry does not want repeated fails, and is not cut in two.
func TestRetry(t *testing.T) {
	f := newFake()
	defer f.Close()
	f.maxEvents = 2
	var asked []client.Attempt
	var told []client.Batch
	c := open(t, f.URL, client.Options{
		BatchEvents: 3, Linger: time.Minute,
		Retry: func(a client.Attempt) bool {
			asked = append(asked, a)
			return a.Status != http.StatusRequestEntityTooLarge
		},
		Done: func(b client.Batch) error { told = append(told, b); return nil },
	})
	for i := range 4 {
		if err := c.Publish(t.Context(), client.Event{Topic: "t", Payload: json.RawMessage(fmt.Sprint(i))}); err != nil {
			t.Fatal(err)
		}
	}
	var rejected *client.RejectedError
	if err := c.Close(within(t)); !errors.Is(err, client.ErrFailed) || !errors.As(err, &rejected) || rejected.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("Close: %v", err)
	}
	if len(asked) != 1 || asked[0].Events != 3 || asked[0].Status != 413 || asked[0].Code != "too_large" || asked[0].Err == nil {
		t.Errorf("asked of %+v", asked)
	}
	if len(told) != 2 || told[0].Events != 3 || told[0].Err == nil || told[1].Events != 1 || told[1].Err != nil || told[1].Last.Accepted != 1 {
		t.Errorf("told %+v", told)
	}
	if len(f.events()) != 1 {
		t.Errorf("%d stored", len(f.events()))
	}
}

// TestRetryEnds: a passing state is repeated as long as Retry wants it.
func TestRetryEnds(t *testing.T) {
	f := newFake()
	defer f.Close()
	f.next = func() fault { return refuse }
	c := open(t, f.URL, client.Options{Retry: func(a client.Attempt) bool { return a.Number < 3 }})
	if err := c.Publish(t.Context(), client.Event{Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(within(t)); !errors.Is(err, client.ErrGaveUp) || errors.Is(err, client.ErrUnsent) {
		t.Errorf("Close: %v", err)
	}
	if f.mu.Lock(); f.requests != 3 {
		t.Errorf("%d requests", f.requests)
	}
	f.mu.Unlock()
}

// TestDone: it is told every event once, in order, whatever happens to the requests, and its error
// ends the client before another request.
func TestDone(t *testing.T) {
	f := newFake()
	defer f.Close()
	next := 0
	f.next = func() fault { next++; return []fault{none, refuse, lose, cut, lie}[next%5] }
	f.maxEvents = 2
	told, attempts, rejected := 0, 0, 0
	stop := errors.New("enough")
	c := open(t, f.URL, client.Options{BatchEvents: 4, Done: func(b client.Batch) error {
		told += b.Events
		attempts += b.Last.Number
		rejected += len(b.Last.Rejected)
		if got := len(f.events()) + rejected; b.Err != nil || got != told {
			t.Errorf("%+v, with %d stored or rejected", b, got)
		}
		if told >= 10 {
			return stop
		}
		return nil
	}})
	var err error
	for i := 0; err == nil; i++ {
		payload := fmt.Sprint(i)
		if i%3 == 2 {
			payload = `"bad"`
		}
		err = c.Publish(within(t), client.Event{Topic: "t", ID: fmt.Sprint(i), Payload: json.RawMessage(payload)})
	}
	if !errors.Is(err, stop) {
		t.Errorf("Publish: %v", err)
	}
	if err := c.Close(within(t)); !errors.Is(err, client.ErrUnsent) || !errors.Is(err, stop) {
		t.Errorf("Close: %v", err)
	}
	if told != 10 || rejected != 3 || attempts <= told/2 {
		t.Errorf("told of %d events, %d rejected, %d attempts", told, rejected, attempts)
	}
}

// TestPublishRaw: the object comes as it is, a line of NDJSON unless it goes over more than one.
func TestPublishRaw(t *testing.T) {
	var bodies []string
	c := open(t, "http://aggregator/base/?x=1", client.Options{
		Ack: client.AckServer, UserAgent: "till", BatchEvents: 2, Linger: time.Minute,
		Transport: reading(func(r *http.Request, body string) *http.Response {
			bodies = append(bodies, r.Header.Get("Content-Type")+" "+r.URL.RequestURI()+" "+r.Header.Get("User-Agent")+" "+body)
			return respond(200, `{"accepted":2,"rejected":0}`)
		})})
	for _, object := range []string{`{"topic":5, "more":1}`, ` {} `, `{}`, "{\n}"} {
		if err := c.PublishRaw(t.Context(), json.RawMessage(object)); err != nil {
			t.Fatal(err)
		}
	}
	for _, object := range []string{``, `5`, `null`, `{`, `{}{}`, `{"x":"` + strings.Repeat("x", 2<<20) + `"}`} {
		if err := c.PublishRaw(t.Context(), json.RawMessage(object)); !errors.Is(err, client.ErrInvalid) {
			t.Errorf("%.20s: %v", object, err)
		}
	}
	if err := c.Close(within(t)); err != nil {
		t.Error(err)
	}
	want := []string{
		"application/x-ndjson /base/publish till {\"topic\":5, \"more\":1}\n{}\n",
		"application/json /base/publish till [{},{\n}]",
	}
	if fmt.Sprintf("%q", bodies) != fmt.Sprintf("%q", want) {
		t.Errorf("%q", bodies)
	}
}

// reading is a transport that is told each body.
type reading func(*http.Request, string) *http.Response

func (f reading) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	r.Body.Close()
	return f(r, string(body)), err
}

// TestAck: an acknowledgement of another level than was asked for is none.
func TestAck(t *testing.T) {
	const stored = `{"ack":"store","accepted":1,"rejected":0,"stored":0,"duplicates":1}`
	var query string
	answers := []*http.Response{
		respond(202, `{"ack":"journal","accepted":1,"rejected":0}`), respond(200, `{"ack":"store","accepted":1,"rejected":0}`),
		respond(202, stored), respond(200, stored)}
	c := open(t, "http://aggregator", client.Options{
		Ack: client.AckStore,
		Transport: reading(func(r *http.Request, _ string) *http.Response {
			query = r.URL.RawQuery
			next := answers[0]
			answers = answers[1:]
			return next
		}),
		Done: func(b client.Batch) error {
			if b.Last.Number != 4 || b.Last.Duplicates == nil || *b.Last.Duplicates != 1 {
				t.Errorf("%+v", b)
			}
			return nil
		}})
	if err := c.Publish(t.Context(), client.Event{Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(within(t)); err != nil {
		t.Error(err)
	}
	if query != "ack=store" {
		t.Errorf("asked for %q", query)
	}
	if _, err := client.New("http://aggregator", client.Options{Ack: "disk"}); err == nil {
		t.Error("New took the level disk")
	}
}

// TestFailed: of a batch of which the database refuses an event, the answer at store counts it. The
// batch is sent once more to learn which it is, and it fails as a rejected one does.
func TestFailed(t *testing.T) {
	const counts = `{"ack":"store","accepted":3,"rejected":0,"errors":[],"failed":1,`
	var queries, failed []string
	answers := []*http.Response{
		respond(200, counts+`"stored":1,"duplicates":1}`),
		respond(503, `{"code":"queue_full"}`),
		respond(200, counts+`"stored":0,"duplicates":2,"results":[{"index":0,"status":"duplicate"},{"index":1,"status":"failed"},{"index":2,"status":"duplicate"}]}`)}
	c := open(t, "http://aggregator", client.Options{
		Ack: client.AckStore, BatchEvents: 3, Linger: time.Minute,
		Transport: reading(func(r *http.Request, _ string) *http.Response {
			queries = append(queries, r.URL.RawQuery)
			next := answers[0]
			answers = answers[1:]
			return next
		}),
		Failed: func(e client.Event, err error) { failed = append(failed, fmt.Sprint(e.ID, ": ", err)) },
		Done: func(b client.Batch) error {
			if b.Err != nil || b.Last.Number != 3 || b.Last.Accepted != 2 || *b.Last.Duplicates != 1 || len(b.Last.Rejected) != 1 || b.Last.Rejected[0].Index != 1 {
				t.Errorf("%+v", b)
			}
			return nil
		}})
	for i := range 3 {
		if err := c.Publish(t.Context(), client.Event{Topic: "t", ID: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(within(t)); !errors.Is(err, client.ErrFailed) || errors.Is(err, client.ErrUnsent) {
		t.Errorf("Close: %v", err)
	}
	if want := []string{"1: client: rejected with 200 failed: the database refused it, and /dead-letters says why"}; !slices.Equal(failed, want) {
		t.Errorf("failed %q", failed)
	}
	if want := []string{"ack=store", "ack=store&results=true", "ack=store&results=true"}; !slices.Equal(queries, want) {
		t.Errorf("asked %q", queries)
	}
}

// TestRetryOfFailed: Retry is asked of the attempt too that leaves the failed events unnamed.
func TestRetryOfFailed(t *testing.T) {
	var asked []client.Attempt
	c := open(t, "http://aggregator", client.Options{
		Ack: client.AckStore,
		Transport: reading(func(*http.Request, string) *http.Response {
			return respond(200, `{"ack":"store","accepted":1,"rejected":0,"errors":[],"failed":1,"stored":0,"duplicates":0}`)
		}),
		Retry: func(a client.Attempt) bool { asked = append(asked, a); return false },
		Done: func(b client.Batch) error {
			if b.Last.Number != 1 || !errors.Is(b.Err, client.ErrGaveUp) {
				t.Errorf("%+v", b)
			}
			return nil
		}})
	if err := c.Publish(t.Context(), client.Event{Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(within(t)); !errors.Is(err, client.ErrGaveUp) {
		t.Errorf("Close: %v", err)
	}
	if len(asked) != 1 || !asked[0].Unnamed || asked[0].Status != 200 || asked[0].Err == nil {
		t.Errorf("asked of %+v", asked)
	}
}
