package api

import (
	"encoding/json"
	"testing"
	"time"
)

func TestExportRestsWhileEventsWait(t *testing.T) {
	for _, test := range []struct {
		queue      int64
		took, want time.Duration
	}{{restQueue, time.Second, 0}, {restQueue + 1, 5 * time.Millisecond, restShare * 5 * time.Millisecond}, {1 << 40, time.Minute, restMost}} {
		if got := rest(test.queue, test.took); got != test.want {
			t.Errorf("%d events wait, a page took %s: rests %s, want %s", test.queue, test.took, got, test.want)
		}
	}
}

// TestEveryRouteIsDescribed: openapi.json has each path that is served, but for what only says to
// Elasticsearch's clients that it is one.
func TestEveryRouteIsDescribed(t *testing.T) {
	var doc struct{ Paths map[string]json.RawMessage }
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		t.Fatal(err)
	}
	for _, served := range []map[string]route{routes, senderRoutes} {
		for path := range served {
			if doc.Paths[path] == nil {
				t.Errorf("%s is not described", path)
			}
		}
	}
}
