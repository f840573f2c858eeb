package event

import (
	"strings"
	"testing"
	"time"
)

// TestTimestamp holds RFC 3339 to the letter: what is taken, and what an error has to name.
func TestTimestamp(t *testing.T) {
	for text, names := range map[string]string{
		"2026-11-23T06:41:10Z":      "",
		"2026-11-23t06:41:10z":      "",
		"2026-11-23T06:41:10.5z":    "",
		"2026-11-23T06:41:10+23:59": "",
		"2026-11-23T06:41:10-23:59": "",
		"2026-11-23T06:41:10-00:00": "",
		"2024-02-29T00:00:00Z":      "",
		"0001-01-01T00:00:00+23:59": "",
		"9999-12-31T23:59:59-23:59": "",
		"2026-11-23T06:41:10." + strings.Repeat("9", MaxTimestampBytes-21) + "Z": "",
		// Leap seconds, as they are written in UTC and elsewhere.
		"2016-12-31T23:59:60Z":          "",
		"2015-06-30T23:59:60.25Z":       "",
		"1990-12-31T15:59:60-08:00":     "",
		"2017-01-01T05:29:60.999+05:30": "",
		"2016-12-31T23:58:60Z":          "leap second",
		"2016-12-30T23:59:60Z":          "leap second",
		"2016-12-31T23:59:60+01:00":     "leap second",
		"2016-12-31T23:59:61Z":          "23:59:61",
		"2026-11-23T06:41:10+24:00":     "+24:00",
		"2026-11-23T06:41:10+23:60":     "+23:60",
		"2026-11-23T06:41:10-24:60":     "-24:60",
		"2026-11-23T06:41:10+14:60":     "+14:60",
		"2026-11-23T06:41:10+99:99":     "+99:99",
		"2026-11-23T06:41:10":           "offset",
		"2026-11-23T06:41:10.":          "offset",
		"2026-11-23T06:41:10.Z":         "offset",
		"2026-11-23T06:41:10,5Z":        "offset",
		"2026-11-23T06:41:10 Z":         "offset",
		"2026-11-23T06:41:10+0100":      "offset",
		"2026-11-23T06:41:10+01":        "offset",
		"2026-11-23T06:41:10ZZ":         "offset",
		"2026-11-23 06:41:10Z":          "RFC 3339",
		"2026-11-23T6:41:10Z":           "RFC 3339",
		"":                              "RFC 3339",
		"0000-01-01T00:00:00Z":          "0000",
		"2026-13-01T00:00:00Z":          "2026-13-01",
		"2026-00-01T00:00:00Z":          "2026-00-01",
		"2026-01-00T00:00:00Z":          "2026-01-00",
		"2026-02-29T00:00:00Z":          "2026-02-29",
		"2026-11-31T00:00:00Z":          "2026-11-31",
		"2026-11-23T24:00:00Z":          "24:00:00",
		"2026-11-23T23:60:00Z":          "23:60:00",
		"2026-11-23T06:41:10." + strings.Repeat("9", MaxTimestampBytes-20) + "Z": "64",
	} {
		body := `[{"topic":"t","event_id":"a","timestamp":"` + text + `"}]`
		for name, parse := range map[string]func([]byte, Grow) (*Request, error){
			"in one pass": ParseJSON,
			"decoded":     func(body []byte, grow Grow) (*Request, error) { return parseJSON(&Request{}, body, grow) },
		} {
			r, err := parse([]byte(body), nil)
			switch {
			case err != nil:
				t.Errorf("%s, %s: %v", text, name, err)
			case names == "" && (r.Events != 1 || decoded(t, r)[0].Timestamp != text):
				t.Errorf("%s, %s: refused: %v", text, name, r.Rejections)
			case names != "" && (len(r.Rejections) != 1 || r.Rejections[0].Code != InvalidTimestamp || !strings.Contains(r.Rejections[0].Detail, names)):
				t.Errorf("%s, %s: %d events, %v; want a refusal that names %s", text, name, r.Events, r.Rejections, names)
			}
		}
	}
}

// TestParseTime: what an event may have is read, to the nanosecond, and nothing else is.
func TestParseTime(t *testing.T) {
	at := func(year int, month time.Month, day, hour, minute, second, nanosecond int) time.Time {
		return time.Date(year, month, day, hour, minute, second, nanosecond, time.UTC)
	}
	for text, want := range map[string]time.Time{
		"2026-11-23T06:41:10Z":            at(2026, 11, 23, 6, 41, 10, 0),
		"2026-11-23t06:41:10.5z":          at(2026, 11, 23, 6, 41, 10, 5e8),
		"2026-11-23T06:41:10.1234567899Z": at(2026, 11, 23, 6, 41, 10, 123456789),
		"2026-11-23T06:41:10+23:59":       at(2026, 11, 22, 6, 42, 10, 0),
		"2016-12-31T23:59:60Z":            at(2017, 1, 1, 0, 0, 0, 0),
		"2015-06-30T23:59:60.25z":         at(2015, 7, 1, 0, 0, 0, 25e7),
		"1990-12-31T15:59:60-08:00":       at(1991, 1, 1, 0, 0, 0, 0),
		"0001-01-01T00:00:00+23:59":       at(0, 12, 31, 0, 1, 0, 0),
		"9999-12-31T23:59:59.5-23:59":     at(10000, 1, 1, 23, 58, 59, 5e8),
		"2016-12-30T23:59:60Z":            {},
		"0000-01-01T00:00:00Z":            {},
		"2026-11-23T06:41:10":             {},
		"2026-11-23T06:41:10,5Z":          {},
		"2026-11-23T6:41:10Z":             {},
		"":                                {},
	} {
		got, err := ParseTime(text)
		if !got.Equal(want) || (err == nil) == want.IsZero() {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
	}
}
