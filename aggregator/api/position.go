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

func parsePosition(text string) (epoch, position uint64, err error) {
	before, behind, _ := strings.Cut(text, "-")
	epoch, err = strconv.ParseUint(before, 10, 63)
	if err == nil {
		position, err = strconv.ParseUint(behind, 10, 63)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("%s=%.40q, want a position as %s tells it, such as 1-4711", minPosition, text, positionHeader)
	}
	return epoch, position, nil
}

// atPosition says in the answer how far this replica is, and lets a reader wait until it is as far
// as is asked. It reports false if it has answered.
func (a *Server) atPosition(ctx *fasthttp.RequestCtx, right Right) bool {
	node := a.node
	epoch, position := node.Position()
	if args := ctx.QueryArgs(); right == Read && args.Has(minPosition) {
		wantEpoch, want, err := parsePosition(string(args.Peek(minPosition)))
		switch {
		case err != nil:
			problem(ctx, fasthttp.StatusBadRequest, "invalid_query", err.Error())
			return false
		case wantEpoch != epoch:
			problem(ctx, fasthttp.StatusConflict, "epoch_changed", fmt.Sprintf("the log is of epoch %d, the position of epoch %d", epoch, wantEpoch))
			return false
		case !node.Await(want, positionWait):
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
