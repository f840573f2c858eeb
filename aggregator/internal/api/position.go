package api

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/pipeline"
)

// In a cluster answers carry the position of the log that they are of, and a reader may ask for a
// replica that has come so far: so that it reads what was published, on whatever node.
const (
	positionHeader = "Sekali-Position"
	minPosition    = "min_position"
	afterName      = "after"
	// staleHeader says that this replica has halted, and shows what it had.
	staleHeader = "Sekali-Stale"
	// positionWait is how long a reader is kept waiting for a replica to come so far.
	positionWait = 5 * time.Second
)

// parseLevel reads a level that this aggregator has.
func (a *Server) parseLevel(name string) (pipeline.Level, error) {
	level, err := pipeline.ParseLevel(name)
	if err == nil && level == pipeline.Replicated && a.node == nil {
		return "", errors.New("ack level \"replicated\" is a cluster's, and this aggregator is alone")
	}
	return level, err
}

// writePosition is a position as it is told: of which epoch of the log, and where in it.
func writePosition(epoch, position uint64) string { return fmt.Sprintf("%d-%d", epoch, position) }

// parsePosition reads what writePosition has written: a position, or a reader's seq.
func parsePosition(name, text string) (epoch, position uint64, err error) {
	before, behind, _ := strings.Cut(text, "-")
	epoch, err = strconv.ParseUint(before, 10, 63)
	if err == nil {
		position, err = strconv.ParseUint(behind, 10, 63)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("%s=%.40q, want the epoch and a number, such as 1-4711", name, text)
	}
	return epoch, position, nil
}

func epochChanged(ctx *fasthttp.RequestCtx, name string, is, of uint64) {
	problem(ctx, fasthttp.StatusConflict, "epoch_changed", fmt.Sprintf("the log is of epoch %d, %s of epoch %d", is, name, of))
}

// ofEpochKey marks a request whose place in the log carried this log's epoch.
type ofEpochKey struct{}

// isOfEpoch reports whether the reader's place is known to be one of this log's.
func isOfEpoch(ctx *fasthttp.RequestCtx) bool { return ctx.UserValue(ofEpochKey{}) != nil }

// ofEpoch lets a reader's place carry the epoch that it is of, as the ids of a stream do: `1-4711`.
// In a log that was made anew, a number may be another event's. It reports false if it has
// answered; else the place is the number alone from here on.
func ofEpoch(ctx *fasthttp.RequestCtx, epoch uint64) bool {
	take := func(name, text string, set func(seq string)) bool {
		if !strings.Contains(text, "-") {
			return true // of no epoch
		}
		of, seq, err := parsePosition(name, text)
		switch {
		case err != nil:
			problem(ctx, fasthttp.StatusBadRequest, "invalid_query", err.Error())
			return false
		case of != epoch:
			epochChanged(ctx, name, epoch, of)
			return false
		}
		set(strconv.FormatUint(seq, 10))
		ctx.SetUserValue(ofEpochKey{}, true)
		return true
	}
	args, header := ctx.QueryArgs(), &ctx.Request.Header
	if all := args.PeekMulti(afterName); len(all) == 1 && !take(afterName, string(all[0]), func(seq string) { args.Set(afterName, seq) }) {
		return false
	}
	return take(lastEventID, string(header.Peek(lastEventID)), func(seq string) { header.Set(lastEventID, seq) })
}

// atPosition says in the answer how far this replica is, and lets a reader wait until it is as far
// as is asked. It reports false if it has answered.
func (a *Server) atPosition(ctx *fasthttp.RequestCtx, right Right) bool {
	node := a.node
	epoch, position := node.Position()
	if right == Read {
		if node.Halted() != nil {
			ctx.Response.Header.Set(staleHeader, "true")
		}
		if !ofEpoch(ctx, epoch) {
			return false
		}
	}
	if args := ctx.QueryArgs(); right == Read && args.Has(minPosition) {
		wantEpoch, want, err := parsePosition(minPosition, string(args.Peek(minPosition)))
		switch {
		case err != nil:
			problem(ctx, fasthttp.StatusBadRequest, "invalid_query", err.Error())
			return false
		case wantEpoch != epoch:
			epochChanged(ctx, minPosition, epoch, wantEpoch)
			return false
		case !a.pipeline.Await(want, positionWait):
			if err := node.Halted(); err != nil {
				problem(ctx, fasthttp.StatusServiceUnavailable, "halted", fmt.Sprintf("this replica does not come to %d: %v", want, err))
				return false
			}
			problem(ctx, fasthttp.StatusServiceUnavailable, "lagging", fmt.Sprintf("this replica has not come to %d within %v: ask another", want, positionWait))
			return false
		}
		args.Del(minPosition)
		_, position = node.Position()
	}
	// Before it is read: what is read is of this position, or of a later one.
	ctx.Response.Header.Set(positionHeader, writePosition(epoch, position))
	return true
}

// publishedAt is where the events are in a cluster's log; "" where that is not known.
func (a *Server) publishedAt(ctx *fasthttp.RequestCtx, out pipeline.Outcome) string {
	node := a.node
	if node == nil || out.Position == 0 {
		return ""
	}
	epoch, _ := node.Position()
	at := writePosition(epoch, out.Position)
	ctx.Response.Header.Set(positionHeader, at)
	return at
}
