package attack

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"sekali/loadgen/delivery"
	"sekali/loadgen/ledger"
)

// deliverer is the http.RoundTripper under vegeta: it finds a request by its
// header, delivers it with retries, and writes every attempt down.
type deliverer struct {
	targets []*url.URL
	header  http.Header // of every request
	events  int
	tally   *tally
	ahead   *ahead
	ledger  *ledger.Writer

	ctx    context.Context // ends the attack; set by begin, like sender
	sender delivery.Sender

	mu       sync.Mutex
	prepared map[string]prepared // by the value of the request's header
}

type prepared struct {
	body      body
	phase     int
	plannedNS int64
}

func newDeliverer(c Config, targets []*url.URL, t *tally, a *ahead) *deliverer {
	header := http.Header{"Content-Type": {"application/json"}, "User-Agent": {"sekali-attack"}}
	if c.Encoding == EncodingNDJSON {
		header.Set("Content-Type", "application/x-ndjson")
	}
	if c.Compression != CompressionNone {
		header.Set("Content-Encoding", c.Compression)
	}
	if c.Token != "" {
		header.Set("Authorization", "Bearer "+c.Token)
	}
	return &deliverer{
		targets: targets, header: header, events: c.EventsPerRequest,
		tally: t, ahead: a, ledger: c.Ledger,
		prepared: make(map[string]prepared),
	}
}

// begin is called once, before the first request.
func (d *deliverer) begin(ctx context.Context, s delivery.Sender) { d.ctx, d.sender = ctx, s }

// prepare makes a vegeta target that stands for b. Its body stays here: vegeta
// would wrap it in a reader that does not tell when the transport is done with it.
func (d *deliverer) prepare(t *vegeta.Target, p prepared) {
	number := strconv.FormatUint(p.body.number, 10)
	d.mu.Lock()
	d.prepared[number] = p
	d.mu.Unlock()
	t.Method, t.URL = http.MethodPost, d.targets[0].String()
	t.Header = http.Header{requestHeader: {number}}
}

// RoundTrip is called by vegeta's client, once a request. The answer that it
// returns has no body: whatever it said is in the ledger.
func (d *deliverer) RoundTrip(r *http.Request) (*http.Response, error) {
	number := r.Header.Get(requestHeader)
	d.mu.Lock()
	p, ok := d.prepared[number]
	delete(d.prepared, number)
	d.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("attack: request %q was not prepared", number)
	}
	result := d.send(p)
	if result.Last.Status == 0 {
		return nil, fmt.Errorf("attack: request %s: %s", number, result.Last.Cause)
	}
	return &http.Response{
		StatusCode: result.Last.Status, Status: http.StatusText(result.Last.Status),
		Proto: r.Proto, ProtoMajor: r.ProtoMajor, ProtoMinor: r.ProtoMinor,
		Header: http.Header{}, Body: http.NoBody, Request: r,
	}, nil
}

// send delivers a request with retries, and writes every attempt down.
func (d *deliverer) send(p prepared) delivery.Result {
	header := d.header.Clone()
	header[requestHeader] = []string{strconv.FormatUint(p.body.number, 10)}
	result := d.sender.Send(d.ctx, delivery.Request{
		Number: p.body.number, Phase: p.phase, PlannedNS: p.plannedNS,
		URL: d.targets[0], Others: d.targets[1:], Header: header, Body: p.body.bytes, Events: d.events,
	}, func(a ledger.Attempt) {
		d.ledger.Write(a)
		d.tally.attempted(a)
	})
	d.tally.answered(result)
	if result.BodyFree {
		d.ahead.recycle(p.body.bytes)
	}
	return result
}
