package api

import "sync/atomic"

// budget is a number of bytes that connections share. Nobody waits for it: what does not fit is refused,
// so that no slow client can keep another waiting.
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
