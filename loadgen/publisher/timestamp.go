package publisher

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/itlightning/dateparse"
)

// timestampWithin bounds how far into a line its timestamp may begin and end.
const timestampWithin = 128

const (
	clockForm = `\d{1,2}:\d\d:\d\d(?:[.,]\d{1,9})?`
	monthForm = `(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*`
	zoneForm  = `(?: ?(?:Z\b|[+-]\d\d(?::?\d\d)?\b)| [A-Z]{3,4}\b)?`
)

// Times that log lines carry.
var (
	// At the beginning of a line only:
	// May  1 12:00:00, of syslog, and I0501 12:00:00.123456, of klog: without a year
	syslogTime = regexp.MustCompile(`^(?:<\d{1,3}>)?([A-Z][a-z]{2}) +(\d{1,2}) (\d\d:\d\d:\d\d(?:\.\d{1,9})?)(?:[^0-9]|$)`)
	klogTime   = regexp.MustCompile(`^[IWEF](\d\d)(\d\d) (\d\d:\d\d:\d\d\.\d{6}) `)
	// 1764293012.123: seconds, milli-, micro- or nanoseconds since 1970
	epochTime = regexp.MustCompile(`^(?:type=\w+ msg=audit\(|(?:ts|time|timestamp)=|[\["(])?"?(\d{10}|\d{13}|\d{16}|\d{19})(?:\.(\d{1,9}))?(?:[^0-9A-Za-z.\-]|$)`)

	// Anywhere; the first counts, since what follows it may be a sender's words:
	// 2026-05-01T12:00:00.123456+02:00, 2026-05-01 12:00:00,123, 20260501T120000Z
	isoTime = regexp.MustCompile(`(?:^|[^0-9])(?:(\d{4}-\d\d-\d\d)[T _] ?(\d\d:\d\d:\d\d)|(\d{8})T(\d{6}))(?:[.,](\d{1,9}))?(` + zoneForm + `)`)
	// 01/May/2026:12:00:00 +0200, 01 May 2026 12:00:00, May 1, 2026 3:04:05 PM,
	// Fri May  1 12:00:00.123456 2026, 2026/05/01 12:00:00
	wordTime = regexp.MustCompile(`(?:^|[^0-9A-Za-z])(` +
		`\d{1,2}[/ -]` + monthForm + `[/ -]\d{4}[: ]` + clockForm + zoneForm +
		`|` + monthForm + ` +\d{1,2},? \d{4},? ` + clockForm + `(?: ?[AP]M\b)?` + zoneForm +
		`|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ` + monthForm + ` +\d{1,2} ` + clockForm + `(?: [A-Z]{3,4})? \d{4}\b` +
		`|\d{4}[/.]\d\d[/.]\d\d ` + clockForm + zoneForm + `)`)
)

// namedZones are those whose names mean one thing (RFC 5322). Others (CST, IST)
// are read as the zone of the flag, as times that name none.
var namedZones = map[string]string{
	"UTC": "+0000", "GMT": "+0000", "Z": "+0000", "EST": "-0500", "EDT": "-0400", "CST": "-0600",
	"CDT": "-0500", "MST": "-0700", "MDT": "-0600", "PST": "-0800", "PDT": "-0700",
}

// stamp is the time that a line carries.
type stamp struct {
	at   time.Time
	year int // if it was not in the line, but concluded; else 0
}

// clock reads times.
type clock struct {
	zone *time.Location // of times that name none
	now  func() time.Time
}

// of finds a line's time; false if it has none that a calendar has.
func (c clock) of(line []byte, y *years) (stamp, bool) {
	if at, ok := c.ofJSON(line); ok {
		return stamp{at: at}, true
	}
	line = line[:min(len(line), timestampWithin)]
	if day, ok := yearless(line); ok {
		at, ok := y.resolve(day, c.now(), c.zone)
		return stamp{at, at.Year()}, ok
	}
	at, ok := c.ofText(line)
	return stamp{at: at}, ok
}

// ofText finds a time that is whole.
func (c clock) ofText(text []byte) (time.Time, bool) {
	if m := epochTime.FindSubmatch(text); m != nil {
		if at, ok := epoch(string(m[1]), string(m[2])); ok {
			return at, true
		}
	}
	iso, word := isoTime.FindSubmatchIndex(text), wordTime.FindSubmatchIndex(text)
	if iso != nil && (word == nil || iso[0] <= word[0]) {
		return c.iso(isoTime.FindSubmatch(text))
	}
	if word != nil {
		return c.words(string(text[word[2]:word[3]]))
	}
	return time.Time{}, false
}

func (c clock) iso(m [][]byte) (time.Time, bool) {
	day, of := string(m[1]), string(m[2])
	if day == "" {
		d, t := string(m[3]), string(m[4])
		day, of = d[:4]+"-"+d[4:6]+"-"+d[6:], t[:2]+":"+t[2:4]+":"+t[4:]
	}
	zone := strings.ReplaceAll(strings.TrimSpace(string(m[6])), ":", "")
	if offset, named := namedZones[zone]; named {
		zone = offset
	}
	if len(zone) == len("+02") && zone[0] < 'A' {
		zone += "00"
	}
	// A leap second is the first of the next minute, as clocks have it.
	leap := strings.HasSuffix(of, ":60")
	if leap {
		of = of[:len(of)-2] + "59"
	}
	text, fraction := day+" "+of, string(m[5])
	if fraction != "" {
		text += "." + fraction
	}
	at, err := time.ParseInLocation("2006-01-02 15:04:05", text, c.zone)
	if zone != "" && zone[0] < 'A' {
		at, err = time.Parse("2006-01-02 15:04:05-0700", text+zone)
	}
	if leap {
		at = at.Add(time.Second)
	}
	return at, err == nil && plausible(at)
}

// words reads a time with the name of its month, or of slashes with the year first. The name of a
// zone is taken out before, since dateparse takes one that it does not know for UTC.
func (c clock) words(text string) (time.Time, bool) {
	zone := ""
	fields := strings.Fields(text)
	for i, f := range fields {
		if i > 0 && strings.ToUpper(f) == f && f != "AM" && f != "PM" && f[0] >= 'A' {
			zone = namedZones[f]
			text = strings.Join(append(fields[:i:i], fields[i+1:]...), " ")
			break
		}
	}
	if zone != "" {
		text += " " + zone
	}
	at, err := dateparse.ParseIn(text, c.zone)
	if err != nil {
		return time.Time{}, false
	}
	return at, plausible(at)
}

// epoch reads digits by their number: seconds, milli-, micro-, nanoseconds.
// Years before 2001 have other numbers of digits, and after 2100 it is no time.
func epoch(digits, fraction string) (time.Time, bool) {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	unit := int64(1)
	for range len(digits) - 10 {
		unit *= 10
	}
	perUnit := int64(time.Second) / unit
	nanos, _ := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	at := time.Unix(n/unit, n%unit*perUnit+nanos/unit).UTC()
	return at, at.Year() >= 2001 && at.Year() <= 2100
}

// timeFields are what log lines in JSON call their time, the usual ones first.
var timeFields = []string{"timestamp", "time", "ts", "@timestamp", "_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP",
	"datetime", "date", "asctime", "t", "Timestamp", "Time", "@t", "eventTime"}

// ofJSON finds the time of a line that is a JSON object.
func (c clock) ofJSON(line []byte) (time.Time, bool) {
	line = bytes.TrimLeft(line, " \t")
	var members map[string]json.RawMessage
	if len(line) == 0 || line[0] != '{' || json.Unmarshal(line, &members) != nil {
		return time.Time{}, false
	}
	for _, name := range timeFields {
		value, ok := members[name]
		if !ok {
			continue
		}
		value = bytes.Trim(value, `"`)
		if at, ok := c.ofText(value[:min(len(value), timestampWithin)]); ok {
			return at, true
		}
	}
	return time.Time{}, false
}

// plausible keeps out what RFC 3339 cannot say with an offset applied.
func plausible(at time.Time) bool {
	y := at.UTC().Year()
	_, offset := at.Zone()
	return y >= 1 && y <= 9998 && offset%60 == 0 && offset > -24*3600 && offset < 24*3600
}

// yearday is a time without its year.
type yearday struct {
	month, day int
	clock      string
}

func yearless(line []byte) (yearday, bool) {
	if m := syslogTime.FindSubmatch(line); m != nil {
		month, err := time.Parse("Jan", string(m[1]))
		day, _ := strconv.Atoi(string(m[2]))
		// Thu May  1 12:00:00 begins with no month, and a year may follow: not this form.
		return yearday{int(month.Month()), day, string(m[3])}, err == nil
	}
	if m := klogTime.FindSubmatch(line); m != nil {
		month, _ := strconv.Atoi(string(m[1]))
		day, _ := strconv.Atoi(string(m[2]))
		return yearday{month, day, string(m[3])}, true
	}
	return yearday{}, false
}

// in is the time in a year; false if that year has none such.
func (d yearday) in(year int, zone *time.Location) (time.Time, bool) {
	text := strconv.Itoa(year) + " " + strconv.Itoa(d.month) + " " + strconv.Itoa(d.day) + " " + d.clock
	at, err := time.ParseInLocation("2006 1 2 15:04:05", text, zone)
	return at, err == nil
}

const (
	// disorder is how far a line's time may be before that of an earlier line
	// without being of the next year.
	disorder = 7 * 24 * time.Hour
	// skew is how far a line's time may be in the future: clocks and zones differ.
	skew     = 24 * time.Hour
	longYear = 366 * 24 * time.Hour
	// leapYears is how far apart leap years may be.
	leapYears = 8
)

// years concludes the years of times that have none, from their order.
type years struct{ last time.Time } // the latest such time; zero before the first

// resolve takes the first year that leaves the line after those before it, or
// hardly before them. The first line is of the latest year that is not the future.
func (y *years) resolve(d yearday, latest time.Time, zone *time.Location) (time.Time, bool) {
	limit := latest.Add(skew)
	if !y.last.IsZero() {
		for year := y.last.Year() - 1; year <= y.last.Year()+1; year++ {
			at, ok := d.in(year, zone)
			if ok && !at.Before(y.last.Add(-disorder)) && !at.After(limit) {
				if at.After(y.last) {
					y.last = at
				}
				return at, true
			}
		}
	}
	for year := limit.Year() + 1; year >= limit.Year()-leapYears; year-- {
		if at, ok := d.in(year, zone); ok && !at.After(limit) {
			if y.last.IsZero() {
				y.last = at
			}
			return at, true
		}
	}
	return time.Time{}, false
}

// firstYear reads a file ahead for the year of its first time without one: the last such line is
// not after the file was written, and each line before that a year's turn lies behind is a year
// older. So a line has the same year however long its file has grown, and in a rotated copy, which
// keeps its date. It returns what years.last is to be.
func firstYear(text io.Reader, written time.Time, zone *time.Location) time.Time {
	const leapYear = 2000 // has every day
	var first, last yearday
	var before time.Time
	turns, found := 0, false
	lines := newLineReader(text)
	for {
		line, err := lines.next()
		if err == errLineTooLong {
			continue
		}
		if err != nil {
			break
		}
		d, ok := yearless(line[:min(len(line), timestampWithin)])
		if !ok {
			if !found && lines.number > yearlessWithin {
				return time.Time{}
			}
			continue
		}
		at, ok := d.in(leapYear, zone)
		if !ok {
			continue
		}
		if !found {
			first, found = d, true
		} else if at.Before(before.Add(-disorder)) {
			turns++
		} else if at.Before(before) || at.After(before.Add(longYear-disorder)) {
			continue // out of order, also over the turn
		}
		before, last = at, d
	}
	if !found {
		return time.Time{}
	}
	var y years
	end, ok := y.resolve(last, written, zone)
	if !ok {
		return time.Time{}
	}
	for year := end.Year() - turns; year >= end.Year()-turns-leapYears; year-- {
		if at, ok := first.in(year, zone); ok {
			return at
		}
	}
	return time.Time{}
}

// yearlessWithin is how many lines without such a time make a log one that has none.
const yearlessWithin = 1000
