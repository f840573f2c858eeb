package main

import (
	"context"
	"errors"
	"io"
	"net/http"
)

// exportYardstick is Sekali while somebody exports all that is stored, again and again: what
// reading costs who publishes.
func exportYardstick(binary string) yardstick {
	y := sekaliYardstick(binary)
	y.ID, y.Name = "sekali-export", "Sekali while it is exported"
	y.Includes += ", and one reader that exports all stored events as NDJSON, again and again"
	y.make = func() system {
		return &exported{aggregator: &aggregator{binary: binary, client: newHTTPClient(sekaliConnections)}}
	}
	return y
}

// exported is an aggregator with a reader, which works until all is stored.
type exported struct {
	*aggregator
	reader *http.Client
	cancel context.CancelFunc
	done   chan error
	lines  lineCounter // that the reader was given; valid when it is done
}

// read is how many events the reader was given until all were stored.
func (e *exported) read() int { return int(e.lines) }

func (e *exported) start(ctx context.Context, dir string) error {
	if err := e.aggregator.start(ctx, dir); err != nil {
		return err
	}
	reading, cancel := context.WithCancel(ctx)
	e.reader, e.cancel, e.done = newHTTPClient(1), cancel, make(chan error, 1)
	go func() { e.done <- e.export(reading) }()
	return nil
}

// export exports until ctx ends.
func (e *exported) export(ctx context.Context) error {
	for {
		err := get(ctx, e.reader, e.url+"/events", "application/x-ndjson", func(body io.Reader) error {
			_, err := io.Copy(&e.lines, body)
			return err
		})
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (e *exported) settle(ctx context.Context) error {
	err := e.aggregator.settle(ctx)
	e.cancel()
	return errors.Join(err, <-e.done)
}

func (e *exported) stop() error {
	if e.cancel != nil {
		e.cancel()
	}
	return e.aggregator.stop()
}
