package api

import "sync/atomic"

// budget is a number of bytes that connections share. Nobody waits for it: what does not fit is
// refused, so that no slow client can keep another waiting.
type budget struct{ taken, most int64 }

// take reports whether n more bytes fit, and if so counts them.
func (b *budget) take(n int) bool {
	if atomic.AddInt64(&b.taken, int64(n)) > b.most {
		b.put(n)
		return false
	}
	return true
}

// put gives back n bytes that were taken.
func (b *budget) put(n int) { atomic.AddInt64(&b.taken, -int64(n)) }

// fits reports whether n more bytes would fit now.
func (b *budget) fits(n int) bool { return atomic.LoadInt64(&b.taken)+int64(n) <= b.most }

// held is what one request has taken of a budget. Who holds it defers release, so that it is given
// back on every way out, a panic's too; handOver leaves it to another owner. One goroutine at a
// time uses it.
type held struct {
	of *budget
	n  int
}

// hold takes n bytes, or reports that they do not fit.
func (b *budget) hold(n int) (*held, bool) {
	if !b.take(n) {
		return nil, false
	}
	return &held{b, n}, true
}

// resize changes what is held to n bytes. Less always fits.
func (h *held) resize(n int) bool {
	if n <= h.n {
		h.of.put(h.n - n)
	} else if !h.of.take(n - h.n) {
		return false
	}
	h.n = n
	return true
}

// release gives all of it back; what was handed over is another's, and nil holds nothing.
func (h *held) release() {
	if h == nil {
		return
	}
	h.of.put(h.n)
	h.n = 0
}

// handOver returns the same under a new owner, and leaves nothing to the old one.
func (h *held) handOver() *held {
	next := &held{h.of, h.n}
	h.n = 0
	return next
}
