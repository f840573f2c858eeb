package client

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"time"
)

// logWait is how long a log record waits for room in the queue: a program must not stand still
// because of its log.
const logWait = time.Second

// Handler is a slog.Handler that publishes each record as an event, whose payload is the line that
// slog.JSONHandler would write.
type Handler struct {
	client *Client
	event  Event // topic and source
	json   slog.Handler
	line   *line
}

// line is where json writes; all handlers that come from one share it.
type line struct {
	sync.Mutex
	bytes.Buffer
}

// NewHandler returns a handler that publishes to a topic, with a source ("": none). Options may be
// nil, as of slog.NewJSONHandler.
func NewHandler(c *Client, topic, source string, options *slog.HandlerOptions) *Handler {
	line := &line{}
	return &Handler{c, Event{Topic: topic, Source: source}, slog.NewJSONHandler(line, options), line}
}

// Enabled compares with the level of the options.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.json.Enabled(ctx, level)
}

// Handle publishes a record, also if ctx has ended. If there is no room for 1 s the record is lost;
// slog drops the error, so Flush and Close tell it too, as an ErrFailed.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	event := h.event
	event.Time = r.Time
	h.line.Lock()
	h.line.Reset()
	err := h.json.Handle(ctx, r)
	event.Payload = bytes.Clone(bytes.TrimRight(h.line.Bytes(), "\n"))
	h.line.Unlock()
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logWait)
		defer cancel()
		err = h.client.Publish(ctx, event)
	}
	if err != nil {
		h.client.count(err)
	}
	return err
}

// WithAttrs returns a handler whose records have the attributes too.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.json = h.json.WithAttrs(attrs)
	return &with
}

// WithGroup returns a handler whose attributes are in a group.
func (h *Handler) WithGroup(name string) slog.Handler {
	with := *h
	with.json = h.json.WithGroup(name)
	return &with
}
