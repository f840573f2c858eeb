package main

import (
	"context"

	"sekali/bench/record"
	"sekali/loadgen/stream"
)

// system stores events. The clock runs from the first append to the return of settle; nothing else
// is timed.
type system interface {
	// start makes an empty store under dir, an empty folder, and returns once it takes requests.
	start(ctx context.Context, dir string) error
	// encode makes a request of events before the clock runs, as every client sends bodies that were
	// built before.
	encode(events []stream.Event) any
	// append returns once the system has answered the request. Up to yardstick.connections calls run
	// at once, each with a connection number of its own; the requests come in no fixed order then.
	append(ctx context.Context, connection int, request any) error
	// settle returns once all that was appended is stored, as durably as the system promises.
	settle(ctx context.Context) error
	// stored counts the stored events by reading them, or their index, back.
	stored(ctx context.Context) (int, error)
	// stop ends the system, also one whose start failed half-way.
	stop() error
	// process is the system's own; nil: it runs within the client.
	process() *server
}

// yardstick is a system that can be measured, and what has to be said of its figures.
type yardstick struct {
	record.Yardstick // without its rounds

	connections int      // that append at once
	events      int      // of a round at most, for the slow ones; 0: as many as asked for
	appendOnly  bool     // repeats are stored too
	logs        []string // folders, within that of a round, whose room is used again: what lies there is not kept
	// version looks for the system; the error says why it cannot be measured here.
	version func(ctx context.Context) (string, error)
	make    func() system
}

// expected is how many of the first n events of a stream must be stored.
func (y yardstick) expected(s *stream.Stream, n int) int {
	if y.appendOnly {
		return n
	}
	return int(s.Originals(uint64(n)))
}

// What the time of each kind of system is spent on.
const (
	overHTTP   = "prebuilt requests over HTTP on the loopback, decoding, the acknowledgement, storing"
	overSocket = "prebuilt requests over the system's own protocol on a local socket, decoding, the acknowledgement, storing"
	overNATS   = "prebuilt messages through the system's own client over TCP on the loopback, decoding, the acknowledgement, storing"
	inProcess  = "storing alone: the events lie in memory in the same process, and there is no server, no protocol and no decoding"
)
