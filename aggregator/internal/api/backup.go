package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/crash"
	"sekali/aggregator/store"
)

const (
	// backupBudget bounds the time in which the copy is made.
	backupBudget = 10 * time.Minute
	// A client has backupBase, and a second more for each backupPerSecond bytes, until it has read
	// all: meanwhile nobody else gets a copy, and it takes its room on the disk.
	backupBase      = time.Minute
	backupPerSecond = 1 << 20
	contentDigest   = "Content-Digest" // RFC 9530
)

// backup answers with a copy of what is committed, a whole events.db, and its checksum. In a
// cluster another replica is made from it. What only the journal has is not in it.
func (a *Server) backup(ctx *fasthttp.RequestCtx) {
	if _, err := query(ctx); err != nil {
		problem(ctx, fasthttp.StatusBadRequest, "invalid_query", err.Error())
		return
	}
	if a.node != nil {
		if err := a.node.Halted(); err != nil { // nobody should go on from what it has
			refuse(ctx, err)
			return
		}
	}
	ctx.SetContentType("application/vnd.sqlite3")
	if ctx.IsHead() {
		return
	}
	if !a.copying.CompareAndSwap(false, true) {
		problem(ctx, fasthttp.StatusServiceUnavailable, "busy", "a copy is on its way to somebody else, and one is made at a time")
		return
	}
	free := func() { a.copying.Store(false) }
	sent := false
	defer func() {
		if !sent {
			free()
		}
	}()
	began := time.Now()
	f, size, digest, err := a.copyStore()
	if err != nil {
		a.uncopied(ctx, err)
		return
	}
	a.log.Info("a copy of the store is sent", "bytes", size, "made_ms", time.Since(began).Milliseconds(), "to", ctx.RemoteAddr().String())
	conn := ctx.Conn()
	ctx.Response.Header.Set(contentDigest, "sha-256=:"+base64.StdEncoding.EncodeToString(digest)+":")
	ctx.Response.Header.Set("Cache-Control", "no-store")
	until := time.Now().Add(a.backupBase + time.Duration(size/backupPerSecond)*time.Second)
	body := &sentCopy{file: f, conn: conn, revoked: revoked(ctx), closing: a.closing, until: until, each: a.http.WriteTimeout}
	ctx.SetBodyStream(&answered{body, func() {
		_ = f.Close() // it was read, and has no name
		free()
	}}, int(size))
	sent = true
}

// copyStore makes the copy and its checksum.
func (a *Server) copyStore() (f *os.File, size int64, digest []byte, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), a.backupBudget)
	defer cancel()
	made := make(chan struct{})
	defer close(made)
	go func() {
		select {
		case <-a.closing:
			cancel()
		case <-made:
		}
	}()
	if f, size, err = a.store.Copy(ctx); err != nil {
		return nil, 0, nil, err
	}
	sum := sha256.New()
	if _, err = io.Copy(sum, io.NewSectionReader(f, 0, size)); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, 0, nil, errors.Join(err, f.Close())
	}
	return f, size, sum.Sum(nil), nil
}

// uncopied answers why there is no copy.
func (a *Server) uncopied(ctx *fasthttp.RequestCtx, err error) {
	a.log.Warn("no copy was made", "error", err)
	code := "disk_failing"
	switch {
	case errors.Is(err, store.ErrNoRoom), store.IsFull(err):
		code = "disk_full"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, store.ErrReopening):
		code = "busy"
	}
	problem(ctx, fasthttp.StatusServiceUnavailable, code, "no copy could be made now")
}

var errCopyEnded = errors.New("the copy was not read in time, or its reader may not have it any more")

// sentCopy reads the file for the connection: each piece has the time of an answer to leave, and
// all of them have until.
type sentCopy struct {
	file    *os.File
	conn    net.Conn
	revoked <-chan struct{}
	closing <-chan struct{}
	until   time.Time
	each    time.Duration
}

// Read implements io.Reader.
func (c *sentCopy) Read(b []byte) (int, error) {
	select {
	case <-c.revoked:
		return 0, errCopyEnded
	case <-c.closing:
		return 0, errCopyEnded
	default:
	}
	now := time.Now()
	if now.After(c.until) {
		return 0, errCopyEnded
	}
	deadline := now.Add(c.each)
	if deadline.After(c.until) {
		deadline = c.until
	}
	if err := c.conn.SetWriteDeadline(deadline); err != nil {
		return 0, fmt.Errorf("the copy's connection: %w", err)
	}
	n, err := c.file.Read(b)
	if n > 0 {
		crash.Here(crash.CopySent)
	}
	return n, err
}
