package event

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// clock is the part of a time that always has the same form; a fraction and an offset follow.
const clock = "0000-00-00T00:00:00"

// checkTimestamp says why text is not RFC 3339, or nothing. What is taken is RFC 3339 to the
// letter, with one exception: the year 0000, which most programs cannot read back.
func checkTimestamp(text []byte) string {
	if len(text) > MaxTimestampBytes {
		return fmt.Sprintf("has %d bytes, %d is the most", len(text), MaxTimestampBytes)
	}
	if !hasForm(text, clock) {
		return "must be RFC 3339 with an offset, such as 2026-11-23T06:41:10Z"
	}
	offset, wrong := checkOffset(text[len(clock)+fraction(text[len(clock):]):])
	if wrong != "" {
		return wrong
	}
	two := func(at int) int { return digits(text[at : at+2]) }
	year, month, day := digits(text[:4]), two(5), two(8)
	hour, minute, second := two(11), two(14), two(17)
	// A date that there is not, such as 30 February, comes out as another one.
	date := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	switch {
	case year == 0:
		return "has the year 0000, which most programs cannot read"
	case month != int(date.Month()) || day != date.Day():
		return fmt.Sprintf("has no date: there is no %s", text[:len("0000-00-00")])
	case hour > 23 || minute > 59 || second > 60:
		return fmt.Sprintf("has no time of day: there is no %s", text[len("0000-00-00T"):len(clock)])
	case second == 60 && !beforeLeap(date.Add(time.Duration(hour)*time.Hour+time.Duration(minute-offset)*time.Minute)):
		return "has second 60 where there is no leap second: they end a month, at 23:59:60 UTC"
	}
	return ""
}

// ParseTime reads a time that an event may have, to the nanosecond. A leap second is the first of
// the next minute, as in POSIX: no clock here shows another.
func ParseTime(text string) (time.Time, error) {
	if wrong := checkTimestamp([]byte(text)); wrong != "" {
		return time.Time{}, errors.New(wrong)
	}
	text = strings.ToUpper(text) // t and z
	leap := time.Duration(0)
	if second := len(clock) - len("00"); text[second:len(clock)] == "60" {
		text, leap = text[:second]+"59"+text[len(clock):], time.Second
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	return t.Add(leap), err
}

// hasForm reports whether text begins with form: digits where it has 0, T or t where it has T.
func hasForm(text []byte, form string) bool {
	if len(text) < len(form) {
		return false
	}
	for i, c := range []byte(form) {
		switch {
		case c == '0' && text[i]-'0' > 9, c == 'T' && text[i]|0x20 != 't', c != '0' && c != 'T' && text[i] != c:
			return false
		}
	}
	return true
}

// digits is the number that a few digits are.
func digits(text []byte) (n int) {
	for _, c := range text {
		n = n*10 + int(c-'0')
	}
	return n
}

// fraction returns the length of the fraction of a second that text begins with: a point and at
// least one digit.
func fraction(text []byte) int {
	if len(text) < 2 || text[0] != '.' || text[1]-'0' > 9 {
		return 0
	}
	n := 2
	for n < len(text) && text[n]-'0' <= 9 {
		n++
	}
	return n
}

// checkOffset reads the end of a time, in minutes east of UTC, or says what is wrong with it.
func checkOffset(text []byte) (minutes int, wrong string) {
	if len(text) == 1 && text[0]|0x20 == 'z' {
		return 0, ""
	}
	const form = "00:00"
	if len(text) != 1+len(form) || text[0] != '+' && text[0] != '-' || !hasForm(text[1:], form) {
		return 0, "must end with an offset, Z or such as +01:00, directly behind the seconds"
	}
	hours, rest := digits(text[1:3]), digits(text[4:6])
	if hours > 23 || rest > 59 {
		return 0, fmt.Sprintf("has the offset %s: they go to 23:59", text)
	}
	minutes = hours*60 + rest
	if text[0] == '-' {
		minutes = -minutes
	}
	return minutes, ""
}

// beforeLeap reports whether the minute that begins at t, UTC, may have a leap second: the last of
// a month.
func beforeLeap(t time.Time) bool {
	next := t.Add(time.Minute)
	return next.Day() == 1 && next.Hour() == 0 && next.Minute() == 0
}
