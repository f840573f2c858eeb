package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// TestWhyPublishersWaitIsLogged: whoever reads the log alone sees why publishers are answered 503,
// in one line that says how many it stands for. What a probe or a reader is answered, what is too
// large and a stop are no such lines.
func TestWhyPublishersWaitIsLogged(t *testing.T) {
	var log bytes.Buffer
	a := New(Config{MaxBodyBytes: 1 << 20}, nil, nil, slog.New(slog.NewJSONHandler(&log, nil)))
	answer := func(path string, status int, code string) {
		ctx := &fasthttp.RequestCtx{}
		ctx.Request.SetRequestURI(path)
		problem(ctx, status, code, "why "+code)
		a.observe(ctx, time.Now())
	}
	answer("/readyz", fasthttp.StatusServiceUnavailable, "disk_full")
	answer("/events", fasthttp.StatusServiceUnavailable, "busy")
	answer("/publish", fasthttp.StatusRequestEntityTooLarge, "too_large")
	answer("/publish", fasthttp.StatusServiceUnavailable, "shutting_down")
	if log.Len() > 0 {
		t.Errorf("logged: %s", &log)
	}
	for _, want := range []struct {
		path, code string
		requests   int
	}{{"/publish", "disk_full", 1}, {"/ingest/alerts", "queue_full", 20}} {
		log.Reset()
		for range 20 {
			answer(want.path, fasthttp.StatusServiceUnavailable, want.code)
		}
		var got struct {
			Level, Path, Code, Detail string
			Requests                  int
		}
		if err := json.Unmarshal(log.Bytes(), &got); err != nil { // two lines are no JSON
			t.Fatalf("%v: %s", err, &log)
		}
		if fmt.Sprint(got) != fmt.Sprint("{WARN ", want.path, " ", want.code, " why ", want.code, " ", want.requests, "}") {
			t.Errorf("want %+v, logged: %s", want, &log)
		}
		a.waits.logged = time.Now().Add(-logEvery)
	}
}
