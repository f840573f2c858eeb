package senders_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/elastic/go-elasticsearch/v7"
	"github.com/elastic/go-elasticsearch/v7/esutil"
)

// newBulkIndexer is as the page shows it.
func newBulkIndexer(address string, failed func(error)) (esutil.BulkIndexer, error) {
	client, err := elasticsearch.NewClient(elasticsearch.Config{
		Addresses:     []string{address},
		Username:      "any",
		Password:      "TOKEN",
		RetryOnStatus: []int{502, 503, 504},
		MaxRetries:    1000,
		RetryBackoff:  func(int) time.Duration { return time.Second / 5 },
	})
	if err != nil {
		return nil, err
	}
	return esutil.NewBulkIndexer(esutil.BulkIndexerConfig{
		Client: client, Index: "app", FlushBytes: 1 << 14, FlushInterval: time.Second / 5,
		OnError: func(_ context.Context, err error) { failed(err) },
	})
}

// TestElasticsearchClientGivesUp: by default the client sends a batch that is answered 503 four
// times within a second, and drops it. That is why the page sets its retries.
func TestElasticsearchClientGivesUp(t *testing.T) {
	var requests, dropped atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	client, err := elasticsearch.NewClient(elasticsearch.Config{Addresses: []string{server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	indexer, err := esutil.NewBulkIndexer(esutil.BulkIndexerConfig{
		Client: client, Index: "app", NumWorkers: 1, OnError: func(context.Context, error) { dropped.Add(1) },
	})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := indexer.Add(t.Context(), esutil.BulkIndexerItem{Action: "create", DocumentID: mark(0), Body: strings.NewReader(`{}`)}); err != nil {
		t.Fatal(err)
	}
	_ = indexer.Close(t.Context()) // it says what OnError has said
	if took := time.Since(begin); requests.Load() != 4 || dropped.Load() == 0 || took > time.Second {
		t.Errorf("%d requests in %v, %d errors, want 4 at once, and an error", requests.Load(), took, dropped.Load())
	}
}

// TestElasticsearchClient: the Elasticsearch client's BulkIndexer sends documents with ids. Every
// item is answered as taken, a repeat too.
func TestElasticsearchClient(t *testing.T) {
	const events = 3000
	tr := newPageTrial(t)
	indexer, err := newBulkIndexer(tr.proxy.URL, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	var taken atomic.Int64
	add := func(n int) error {
		return indexer.Add(t.Context(), esutil.BulkIndexerItem{
			Action: "create", DocumentID: mark(n), Body: strings.NewReader(fmt.Sprintf(`{"@timestamp":%q,"n":%d}`, time.Now().UTC().Format(time.RFC3339Nano), n)),
			OnSuccess: func(_ context.Context, _ esutil.BulkIndexerItem, _ esutil.BulkIndexerResponseItem) {
				taken.Add(1)
			},
			OnFailure: func(_ context.Context, item esutil.BulkIndexerItem, answer esutil.BulkIndexerResponseItem, err error) {
				t.Errorf("%s: %+v, %v", item.DocumentID, answer, err)
			},
		})
	}
	tr.feed(events, add, func() {})
	if err := indexer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	tr.finish(outcome{Sender: "Elasticsearch Go client, BulkIndexer", Version: moduleVersion(t, "github.com/elastic/go-elasticsearch/v7"), Protocol: "Elasticsearch bulk"}, events)
	if taken.Load() != events {
		t.Errorf("%d of %d items were answered as taken", taken.Load(), events)
	}
}
