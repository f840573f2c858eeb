package ingest

import (
	"math"
	"math/big"
	"strings"
	"time"

	"sekali/aggregator/event"
)

// appendTime appends t as an event has it.
func appendTime(dst []byte, t time.Time) []byte { return t.UTC().AppendFormat(dst, time.RFC3339Nano) }

// setTime sets the event's time, unless t is a year that RFC 3339 does not have.
func (b *builder) setTime(t time.Time) {
	if year := t.UTC().Year(); year < 1 || year > 9999 {
		return
	}
	from := len(b.scratch)
	b.scratch = appendTime(b.scratch, t)
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
