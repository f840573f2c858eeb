package attack

import (
	"bytes"
	"compress/gzip"
	"context"
	"sync"

	"github.com/klauspost/compress/zstd"

	"sekali/loadgen/stream"
)

// body is a request's body, ready to be sent.
type body struct {
	number uint64
	bytes  []byte
}

// encoder builds bodies; not safe for concurrent use.
type encoder struct {
	stream           *stream.Stream
	eventsPerRequest uint64
	ndjson           bool
	compression      string
	plain            []byte // what is compressed
	zip              *gzip.Writer
	zst              *zstd.Encoder
}

func newEncoder(c Config) (*encoder, error) {
	e := &encoder{
		stream: c.Stream, eventsPerRequest: uint64(c.EventsPerRequest),
		ndjson: c.Encoding == EncodingNDJSON, compression: c.Compression,
	}
	var err error
	switch c.Compression {
	case CompressionGzip: // the fastest level: the generator shares the machine with what it measures
		e.zip, err = gzip.NewWriterLevel(nil, gzip.BestSpeed)
	case CompressionZstd:
		e.zst, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	}
	return e, err
}

// append appends the body of a request.
func (e *encoder) append(dst []byte, request uint64) []byte {
	switch e.compression {
	case CompressionGzip:
		e.plain = e.appendPlain(e.plain[:0], request)
		buffer := bytes.NewBuffer(dst)
		e.zip.Reset(buffer)
		e.zip.Write(e.plain) // a bytes.Buffer takes everything
		e.zip.Close()
		return buffer.Bytes()
	case CompressionZstd:
		e.plain = e.appendPlain(e.plain[:0], request)
		return e.zst.EncodeAll(e.plain, dst)
	}
	return e.appendPlain(dst, request)
}

func (e *encoder) appendPlain(dst []byte, request uint64) []byte {
	first := request * e.eventsPerRequest
	if e.ndjson {
		for n := first; n < first+e.eventsPerRequest; n++ {
			dst = append(e.stream.AppendEvent(dst, n), '\n')
		}
		return dst
	}
	dst = append(dst, '[')
	for n := first; n < first+e.eventsPerRequest; n++ {
		if n > first {
			dst = append(dst, ',')
		}
		dst = e.stream.AppendEvent(dst, n)
	}
	return append(dst, ']')
}

// ahead holds bodies that were built before they are due: building one within
// the timed span would be measured as the aggregator's latency.
type ahead struct {
	encoder  *encoder
	maxBytes int64

	mu      sync.Mutex
	changed sync.Cond // any of the fields below
	queue   []body
	bytes   int64 // of the queue
	typical int   // bytes of the first body; the others are about as large
	full    bool  // once: as much is built as may be, or all
	stopped bool
	spare   [][]byte // memory of bodies that were sent
}

func newAhead(e *encoder, maxBytes int64) *ahead {
	a := &ahead{encoder: e, maxBytes: maxBytes}
	a.changed.L = &a.mu
	return a
}

// build builds the bodies [first,end) until stop is called. At least one is
// built, however large.
func (a *ahead) build(first, end uint64) {
	for number := first; number < end; number++ {
		b := body{number: number, bytes: a.encoder.append(a.memory(), number)}
		if !a.put(b) {
			return
		}
	}
	a.mu.Lock()
	a.full = true
	a.mu.Unlock()
	a.changed.Broadcast()
}

func (a *ahead) put(b body) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.bytes > 0 && a.bytes+int64(len(b.bytes)) > a.maxBytes && !a.stopped {
		a.full = true
		a.changed.Broadcast()
		a.changed.Wait()
	}
	if a.typical == 0 {
		a.typical = len(b.bytes)
	}
	a.queue = append(a.queue, b)
	a.bytes += int64(len(b.bytes))
	a.changed.Broadcast()
	return !a.stopped
}

// waitFull returns when nothing more can be built ahead, or stop was called.
func (a *ahead) waitFull() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for !a.full && !a.stopped {
		a.changed.Wait()
	}
}

// next takes the next body; false after stop.
func (a *ahead) next() (body, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.queue) == 0 && !a.stopped {
		a.changed.Wait()
	}
	if a.stopped {
		return body{}, false
	}
	b := a.queue[0]
	a.queue[0] = body{}
	a.queue = a.queue[1:]
	a.bytes -= int64(len(b.bytes))
	a.changed.Broadcast()
	return b, true
}

// first is the size of the first body; 0 if none was built.
func (a *ahead) first() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.typical
}

// recycle gives the memory of a body back.
func (a *ahead) recycle(memory []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	// What is spare and what is queued were made for the same bound.
	if int64(len(a.spare)+1)*int64(cap(memory)) <= a.maxBytes {
		a.spare = append(a.spare, memory[:0])
	}
}

// memory is what a body can be built in. New memory has room for a body of the
// usual size: one that grew into it would have been copied twice.
func (a *ahead) memory() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	last := len(a.spare) - 1
	if last < 0 {
		return make([]byte, 0, a.typical+a.typical/16)
	}
	m := a.spare[last]
	a.spare = a.spare[:last]
	return m
}

func (a *ahead) stop() {
	a.mu.Lock()
	a.stopped = true
	a.mu.Unlock()
	a.changed.Broadcast()
}

// stopWith stops when ctx ends; the returned function forgets ctx.
func (a *ahead) stopWith(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, a.stop)
}
