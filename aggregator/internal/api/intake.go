package api

import (
	"errors"
	"fmt"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/ingest"
	"sekali/aggregator/internal/stage"
	"sekali/aggregator/pipeline"
	"sekali/aggregator/store"
)

// intake is what an endpoint that takes events has of its own: how it reads a body, and how it
// answers. An error is answered by problem, in the form of the route.
type intake struct {
	level  pipeline.Level
	keep   bool                     // what is refused becomes dead letters
	decode decoder                  // keeps nothing of the body
	room   func(*event.Request) int // bounds what the answer takes; 0, or nil: it is small
	// answer may hand over room, of which the pages' budget holds what the answer takes; else it is
	// given back.
	answer func(r *event.Request, out pipeline.Outcome, room *held)
}

// decoded is what was in a body.
type decoded struct {
	request *event.Request
	refused []store.Refused // what is kept of what cannot be taken
	err     error           // why none of it can be
}

// take reads the body, decodes it, hands its events to the pipeline, and answers.
func (a *Server) take(ctx *fasthttp.RequestCtx, in intake) {
	d, ok := a.decode(ctx, in)
	if !ok {
		return
	}
	if d.err != nil {
		if err := a.keepRefused(in.level, d.refused); err != nil {
			refuse(ctx, err)
			return
		}
		a.malformed(ctx, d.err)
		return
	}
	room, ok := a.answerRoom(ctx, in, d.request)
	if !ok {
		return
	}
	defer room.release()
	if err := a.keepBeside(in.level, d); err != nil {
		refuse(ctx, err)
		return
	}
	out, err := a.publishBounded(in.level, d.request)
	if err != nil {
		refuse(ctx, err)
		return
	}
	a.countRejections(ctx, d.request)
	in.answer(d.request, out, room)
}

// answerRoom takes room for the answer before the events are taken, or answers that there is none:
// without it none of them is. The caller releases it; nil: a small answer takes none.
func (a *Server) answerRoom(ctx *fasthttp.RequestCtx, in intake, r *event.Request) (*held, bool) {
	n := 0
	if in.room != nil {
		n = in.room(r)
	}
	if n > answerBytesMost {
		problem(ctx, fasthttp.StatusRequestEntityTooLarge, "too_large",
			fmt.Sprintf("the answer would take %d bytes, %d is the most: send less at once", n, answerBytesMost))
		return nil, false
	}
	if n == 0 {
		return nil, true
	}
	room, ok := a.pages.hold(n)
	if !ok {
		_ = a.noRoom()
		problem(ctx, fasthttp.StatusServiceUnavailable, "busy", "there is no room for the answer until others have read theirs")
	}
	return room, ok
}

// keepBeside keeps what is refused of a request before its other events are handed over. If they
// then find no place, all of it is sent again, and kept once all the same. Of a request that never
// finds one nothing is: its sender sends less at once.
func (a *Server) keepBeside(level pipeline.Level, d decoded) error {
	if len(d.refused) == 0 {
		return nil
	}
	if err := a.pipeline.Fits(level, d.request); err != nil {
		return err
	}
	waits, ok := a.bodies.hold(cap(d.request.Data)) // for the commit, in nobody's count else
	if !ok {
		return errBusy
	}
	defer waits.release()
	return a.keepRefused(level, d.refused)
}

// publishBounded hands the events over, unless too many requests wait for the same already: their
// connections would be missing to others, also when their publishers have hung up.
func (a *Server) publishBounded(level pipeline.Level, r *event.Request) (pipeline.Outcome, error) {
	defer a.waiting.Add(-1)
	if a.waiting.Add(1) > maxWaiting {
		return pipeline.Outcome{}, errWaiting
	}
	if level == pipeline.Store {
		defer a.commits.Add(-1)
		if a.commits.Add(1) > maxCommits {
			return pipeline.Outcome{}, errWaiting
		}
	}
	return a.pipeline.Publish(level, r)
}

// decode reads the body and what is in it, or answers why not.
func (a *Server) decode(ctx *fasthttp.RequestCtx, in intake) (decoded, bool) {
	b, ok := a.receive(ctx)
	if !ok {
		return decoded{}, false
	}
	defer b.release()
	stage.Decode.Enter()
	defer stage.HTTP.Enter()
	r, err := in.decode(b.data)
	switch {
	case errors.Is(err, errBusy):
		refuse(ctx, err)
		return decoded{}, false
	case errors.Is(err, errSignature), errors.Is(err, errNoSecret):
		problem(ctx, fasthttp.StatusUnauthorized, "unauthorized", err.Error())
		return decoded{}, false
	}
	if r != nil && !a.mayPublish(ctx, r) {
		return decoded{}, false
	}
	d := decoded{request: r, err: err}
	if in.keep && !overLimits(err) {
		d.refused = lettersOf(string(ctx.Path()), b.data, r, err)
	}
	if r != nil {
		for i := range r.Rejections {
			r.Rejections[i].Raw = nil // the body goes
		}
	}
	return d, true
}

// overLimits reports an error at which the sender has to send less at once: no event is wrong, so
// there is none to keep.
func overLimits(err error) bool {
	return errors.Is(err, event.ErrTooMany) || errors.Is(err, event.ErrTooLarge)
}

// malformed answers a request of whose body nothing can be taken.
func (a *Server) malformed(ctx *fasthttp.RequestCtx, err error) {
	status, code := fasthttp.StatusBadRequest, string(ingest.BadBody)
	if overLimits(err) {
		status, code = fasthttp.StatusRequestEntityTooLarge, "too_large"
	}
	a.logRejected(ctx, 1, code)
	problem(ctx, status, code, err.Error())
}
