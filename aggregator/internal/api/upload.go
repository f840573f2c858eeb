package api

import (
	"errors"
	"io"
	"time"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/ingest"
	"sekali/aggregator/pipeline"
	"sekali/aggregator/store"
)

// An upload begins anew if it is answered 503, so a piece that finds no place is tried again, every
// uploadPause, for uploadPatience. Its sender waits meanwhile.
const (
	uploadPatience = 10 * time.Second
	uploadPause    = 50 * time.Millisecond
)

const uploadPath = "/upload"

// upload takes what systemd-journal-upload sends, of any length, piece by piece: each is as safe as
// the level asks before the next is read.
func (a *Server) upload(ctx *fasthttp.RequestCtx) {
	level, ok := a.levelOf(ctx)
	if !ok {
		return
	}
	if encoding := string(ctx.Request.Header.ContentEncoding()); encoding != "" && encoding != "identity" {
		problem(ctx, fasthttp.StatusUnsupportedMediaType, "unsupported_media_type", "an upload must not be compressed")
		ctx.SetConnectionClose()
		return
	}
	if !a.bodies.take(ingest.UploadHeld) {
		a.unreceived(ctx, errBusy)
		return
	}
	defer a.bodies.put(ingest.UploadHeld)
	u := ingest.NewUpload(a.input(ctx, nil), bodyStream(ctx))
	for {
		receiveBody(ctx.Conn())
		err := ctx.Conn().SetReadDeadline(time.Now().Add(a.bodyTimeout)) // of the piece
		var r *event.Request
		if err == nil {
			r, err = u.Piece()
		}
		serve(ctx.Conn())
		if a.ended(ctx) || r != nil && !a.mayPublish(ctx, r) {
			ctx.SetConnectionClose()
			return
		}
		if r != nil && r.Events > 0 {
			if full := a.publishPatiently(level, r); full != nil {
				refuse(ctx, full)
				ctx.SetConnectionClose()
				return
			}
		}
		if err != nil {
			a.uploaded(ctx, level, u, err)
			return
		}
	}
}

// ended answers an upload whose token was revoked meanwhile, and reports whether it was.
func (a *Server) ended(ctx *fasthttp.RequestCtx) bool {
	select {
	case <-revoked(ctx): // nil, which blocks, where there are no tokens
		problem(ctx, fasthttp.StatusUnauthorized, "unauthorized", "the token was revoked")
		return true
	default:
		return false
	}
}

// publishPatiently is publishBounded for who does not come back with the same soon.
func (a *Server) publishPatiently(level pipeline.Level, r *event.Request) error {
	for until := time.Now().Add(uploadPatience); ; time.Sleep(uploadPause) {
		_, err := a.publishBounded(level, r)
		full := errors.Is(err, errWaiting) || errors.Is(err, pipeline.ErrQueueFull) || errors.Is(err, pipeline.ErrBacklogFull) || errors.Is(err, pipeline.ErrLocked)
		if !full || time.Now().After(until) {
			return err
		}
	}
}

// uploaded answers an upload that has ended with err.
func (a *Server) uploaded(ctx *fasthttp.RequestCtx, level pipeline.Level, u *ingest.Upload, err error) {
	switch {
	case errors.Is(err, io.EOF):
		ctx.SetStatusCode(fasthttp.StatusAccepted)
		ctx.SetContentType("text/plain; charset=utf-8")
		ctx.SetBodyString("OK.\n")
		return
	case ingest.IsMalformed(err):
		now := time.Now().UTC().Format(pipeline.ReceivedLayout)
		letter := store.NewRefused(uploadPath, u.Bad, string(ingest.BadBody)+": "+err.Error(), now)
		if err := a.keepRefused(level, []store.Refused{letter}); err != nil {
			refuse(ctx, err)
			break
		}
		a.malformed(ctx, err)
	default: // the sender is gone, or slow
		a.badRequest(ctx, err)
	}
	ctx.SetConnectionClose()
}
