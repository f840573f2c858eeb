package ingest

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"sekali/aggregator/event"
)

// clock writes times as an event has them: RFC 3339 in UTC, with as many digits as they need. The
// times of a request lie so close together that most have their second in common, which is kept.
type clock struct {
	second int64
	text   []byte // of the second, without the Z; empty at first
}

func (c *clock) append(dst []byte, t time.Time) []byte {
	return c.appendUnix(dst, t.Unix(), t.Nanosecond())
}

func (c *clock) appendUnix(dst []byte, second int64, nanosecond int) []byte {
	if len(c.text) == 0 || c.second != second {
		c.second, c.text = second, time.Unix(second, 0).UTC().AppendFormat(c.text[:0], time.RFC3339)
		c.text = c.text[:len(c.text)-len("Z")]
	}
	dst = append(dst, c.text...)
	if nanosecond > 0 {
		dst = append(dst, ".000000000"...)
		for i := len(dst) - 1; nanosecond > 0; i-- {
			dst[i] += byte(nanosecond % 10)
			nanosecond /= 10
		}
		for dst[len(dst)-1] == '0' {
			dst = dst[:len(dst)-1]
		}
	}
	return append(dst, 'Z')
}

// The first and the last second that RFC 3339 has, and event.ParseTime reads.
const (
	firstSecond = -62135596800 // 0001-01-01T00:00:00Z
	lastSecond  = 253402300799 // 9999-12-31T23:59:59Z
)

// setTime sets the event's time, unless t is of a year that RFC 3339 does not have.
func (b *builder) setTime(t time.Time) { b.setUnix(t.Unix(), t.Nanosecond()) }

func (b *builder) setUnix(second int64, nanosecond int) {
	if second < firstSecond || second > lastSecond {
		return
	}
	from := len(b.scratch)
	b.scratch = b.clock.appendUnix(b.scratch, second, nanosecond)
	b.fields.Timestamp = b.scratch[from:]
}

// Where the unit of a number of seconds since 1970 changes: a number of seconds below 1e11 is a
// time before the year 5138, and the same times lie a thousand times higher in each smaller unit.
const epochUnits = 1e11

// parseTime reads a time as senders write it: RFC 3339, and forms that are nearly that, or seconds,
// milliseconds, microseconds or nanoseconds since 1970.
func parseTime(text string) (time.Time, bool) {
	text = strings.TrimSpace(text)
	if text == "" {
		return time.Time{}, false
	}
	if c := text[0]; c == '-' || c == '.' || c >= '0' && c <= '9' {
		if t, ok := wholeEpoch(text); ok {
			return t, true
		}
		if t, ok := parseEpoch(text); ok {
			return t, true
		}
	}
	if t, err := event.ParseTime(text); err == nil {
		return t, true
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02 15:04:05.999999999Z07:00"} {
		if t, err := time.Parse(layout, text); err == nil && t.Year() > 0 {
			return t, true
		}
	}
	return time.Time{}, false
}

// wholeEpoch is parseEpoch for a whole number as a program writes it.
func wholeEpoch(text string) (time.Time, bool) {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || text[0] == '0' {
		return time.Time{}, false
	}
	size, scale := float64(n), int64(1)
	for ; size >= epochUnits && scale < 1e9; scale *= 1000 {
		size /= 1000
	}
	t := time.Unix(int64(n)/scale, int64(n)%scale*(1e9/scale)).UTC()
	return t, t.Unix() <= lastSecond
}

// parseEpoch reads a number of a unit that is told by its size. It counts exactly: a float has no
// room for nanoseconds.
func parseEpoch(text string) (time.Time, bool) {
	const longest = 64
	if len(text) > longest {
		return time.Time{}, false
	}
	for _, c := range text {
		if (c < '0' || c > '9') && !strings.ContainsRune("+-.eE", c) {
			return time.Time{}, false
		}
	}
	if _, exponent, ok := strings.Cut(strings.ToLower(text), "e"); ok && len(exponent) > 3 {
		return time.Time{}, false // 1e999999999 is a number of a gigabyte
	}
	seconds, ok := new(big.Rat).SetString(text)
	if !ok {
		return time.Time{}, false
	}
	size, _ := new(big.Rat).Abs(seconds).Float64()
	scale := int64(1)
	for ; size >= epochUnits && scale < 1e9; scale *= 1000 {
		size /= 1000
	}
	return rationalTime(seconds.Mul(seconds, big.NewRat(1e9, scale)))
}

// rationalTime is the time of so many nanoseconds since 1970, fractions cut off.
func rationalTime(nanoseconds *big.Rat) (time.Time, bool) {
	n := new(big.Int).Quo(nanoseconds.Num(), nanoseconds.Denom())
	seconds, rest := new(big.Int).DivMod(n, big.NewInt(1e9), new(big.Int))
	if !seconds.IsInt64() || seconds.Int64() > math.MaxInt32*1000 || seconds.Int64() < math.MinInt32*1000 {
		return time.Time{}, false
	}
	t := time.Unix(seconds.Int64(), rest.Int64()).UTC()
	return t, t.Year() >= 1 && t.Year() <= 9999
}
