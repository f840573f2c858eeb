package publisher

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	awaitEvery = 100 * time.Millisecond
	// awaitProbe bounds one look: an aggregator that accepts a connection and says
	// nothing is not up.
	awaitProbe = 2 * time.Second
	// maxProbeBytes bounds what is read of an answer, so that its connection can be used again.
	maxProbeBytes = 64 << 10
)

// await returns when the aggregator is ready, or when the wait is over.
func (p *publisher) await(ctx context.Context) error {
	if p.config.Wait == 0 {
		return nil
	}
	target, err := url.Parse(p.config.URL)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	ready := target.JoinPath("readyz")
	ready.RawQuery = ""
	until := time.Now().Add(p.config.Wait)
	for {
		reason := p.probe(ctx, ready.String())
		if reason == "" {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("stopped while waiting for %s: %w", p.config.URL, errIncomplete)
		}
		if time.Now().Add(awaitEvery).After(until) {
			return fmt.Errorf("no aggregator at %s within %v: %s: %w", p.config.URL, p.config.Wait, printable(reason), errIncomplete)
		}
		timer := time.NewTimer(awaitEvery)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// probe returns "" if something serves there: ready, or with another idea of
// /readyz than 503, which the first request will find out about.
func (p *publisher) probe(ctx context.Context, url string) (reason string) {
	ctx, cancel := context.WithTimeout(ctx, awaitProbe)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	answer, err := p.transport.RoundTrip(r)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	io.Copy(io.Discard, io.LimitReader(answer.Body, maxProbeBytes))
	switch answer.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return answer.Status
	}
	return ""
}
