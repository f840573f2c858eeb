package publisher

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// timestampWithin bounds how far into a line its timestamp may begin and end.
const timestampWithin = 128

// Times that log lines carry.
var (
	// 2026-05-01T12:00:00.123456+02:00, 2026-05-01 12:00:00,123 (no zone: UTC)
	isoTime = regexp.MustCompile(`(?:^|[^0-9])(\d{4}-\d\d-\d\d)[T ] ?(\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))? ?(Z\b|[+-]\d\d:?\d\d\b)?`)
	// 01/May/2026:12:00:00 +0200, of web servers
	webTime = regexp.MustCompile(`\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}`)
	// May  1 12:00:00, of syslog: at the beginning, without year or zone
	syslogTime = regexp.MustCompile(`^(?:<\d{1,3}>)?([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d)`)
)

// timestampOf finds a line's time; false if it has none that a calendar has.
// A syslog time has no year: it is the last such day up to the day after latest
// (when the log was written; a day, for clocks and zones that differ).
func timestampOf(line []byte, latest time.Time) (time.Time, bool) {
	line = line[:min(len(line), timestampWithin)]
	if m := isoTime.FindSubmatch(line); m != nil {
		zone := strings.ReplaceAll(string(m[4]), ":", "")
		if zone == "" || zone == "Z" {
			zone = "+0000"
		}
		at, err := time.Parse("2006-01-02 15:04:05.999999999-0700", string(m[1])+" "+string(m[2])+"."+string(m[3])+"0"+zone)
		return at, err == nil && plausible(at)
	}
	if m := webTime.Find(line); m != nil {
		at, err := time.Parse("02/Jan/2006:15:04:05 -0700", string(m))
		return at, err == nil && plausible(at)
	}
	if m := syslogTime.FindSubmatch(line); m != nil {
		// February 29 is a day of some years only: the year belongs into the parse.
		for year := latest.Year() + 1; year > latest.Year()-8; year-- {
			at, err := time.Parse("2006 Jan _2 15:04:05", strconv.Itoa(year)+" "+string(m[1]))
			if err == nil && at.Before(latest.AddDate(0, 0, 1)) {
				return at, true
			}
		}
	}
	return time.Time{}, false
}

// plausible keeps out what RFC 3339 cannot say with an offset applied.
func plausible(at time.Time) bool { y := at.UTC().Year(); return y >= 1 && y <= 9998 }
