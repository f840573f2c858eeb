package publisher

import (
	"strings"
	"testing"
	"time"
)

// clockAt reads times as if it were then.
func clockAt(now time.Time, zone *time.Location) clock {
	return clock{zone: zone, now: func() time.Time { return now }}
}

var march10 = time.Date(2026, 3, 10, 9, 0, 0, 0, time.UTC)

func TestTimestampOf(t *testing.T) {
	for line, want := range map[string]string{
		"2026-05-01T12:00:00Z started":                                                           "2026-05-01T12:00:00Z",
		"2026-05-01T12:00:00.123456+02:00 host app: x":                                           "2026-05-01T12:00:00.123456+02:00",
		"2026-05-01T12:00:00.1234567891234Z x":                                                   "2026-05-01T12:00:00.123456789Z",
		"2026-05-01 12:00:00 status installed":                                                   "2026-05-01T12:00:00Z",
		"2026-05-01 12:00:00,123 INFO x":                                                         "2026-05-01T12:00:00.123Z",
		"2026-05-01 12:00:00 +0530 x":                                                            "2026-05-01T12:00:00+05:30",
		"2026-05-01T12:00:00+0200 host sshd[1]: journald":                                        "2026-05-01T12:00:00+02:00",
		"2026-05-01 12:00:00.123 +02 [77] LOG:  postgres":                                        "2026-05-01T12:00:00.123+02:00",
		"2026-05-01 12:00:00.123 UTC [77] LOG:  postgres":                                        "2026-05-01T12:00:00.123Z",
		"2026-05-01 12:00:00 PST x":                                                              "2026-05-01T12:00:00-08:00",
		"2026-05-01 12:00:00 Zebra":                                                              "2026-05-01T12:00:00Z",
		"2026-05-01 12:00:00 INFO x":                                                             "2026-05-01T12:00:00Z",
		"2026-05-01_12:00:00.12345 svlogd":                                                       "2026-05-01T12:00:00.12345Z",
		"20260501T120000Z x":                                                                     "2026-05-01T12:00:00Z",
		"[2026-05-01 12:00:00] x":                                                                "2026-05-01T12:00:00Z",
		"update-alternatives 2026-05-01 12:00:00: run":                                           "2026-05-01T12:00:00Z",
		"Start-Date: 2026-05-01  12:00:00":                                                       "2026-05-01T12:00:00Z",
		"<165>1 2026-05-01T22:14:15.003Z host evntslog - ID47 - x":                               "2026-05-01T22:14:15.003Z",
		`time="2026-05-01T12:00:00.5Z" level=info msg=dockerd`:                                   "2026-05-01T12:00:00.5Z",
		`10.0.0.1 - - [01/May/2026:12:00:00 +0200] "GET / HTTP/1.1"`:                             "2026-05-01T12:00:00+02:00",
		`1.2.3.4 - - [01/May/2026:12:00:00 +0000] "GET /?2025-01-01T00:00:00Z"`:                  "2026-05-01T12:00:00Z",
		"2026/05/01 12:00:00 [error] 12#34: *5 nginx":                                            "2026-05-01T12:00:00Z",
		"[Fri May 01 12:00:00.123456 2026] [core:error] [pid 1] apache":                          "2026-05-01T12:00:00.123456Z",
		"[Fri May  1 12:00:00 2026] [error] apache 2.2":                                          "2026-05-01T12:00:00Z",
		"Fri May  1 12:00:00 EST 2026 date":                                                      "2026-05-01T12:00:00-05:00",
		"1234:M 01 May 2026 12:00:00.123 * redis":                                                "2026-05-01T12:00:00.123Z",
		"01-May-2026 12:00:00.123 named":                                                         "2026-05-01T12:00:00.123Z",
		"May 1, 2026 3:04:05 PM java.util.logging":                                               "2026-05-01T15:04:05Z",
		"Fri, 01 May 2026 12:00:00 +0200":                                                        "2026-05-01T12:00:00+02:00",
		"1764293012 x":                                                                           "2025-11-28T01:23:32Z",
		"1764293012.123    56 10.0.0.1 squid":                                                    "2025-11-28T01:23:32.123Z",
		"[1764293012] SERVICE ALERT: nagios":                                                     "2025-11-28T01:23:32Z",
		"1764293012123 x":                                                                        "2025-11-28T01:23:32.123Z",
		"1764293012123456 x":                                                                     "2025-11-28T01:23:32.123456Z",
		"ts=1764293012.5 level=info":                                                             "2025-11-28T01:23:32.5Z",
		"type=SYSCALL msg=audit(1764293012.243:24287): arch=c000003e":                            "2025-11-28T01:23:32.243Z",
		`{"level":"info","ts":1764293012.123,"msg":"zap"}`:                                       "2025-11-28T01:23:32.123Z",
		`{"log":"2020-01-01T00:00:00Z","time":"2026-05-01T12:00:00.5Z"}`:                         "2026-05-01T12:00:00.5Z",
		`{"__REALTIME_TIMESTAMP":"1764293012123456","MESSAGE":"journald"}`:                       "2025-11-28T01:23:32.123456Z",
		`{"@timestamp":"2026-05-01T12:00:00.000Z","message":"` + strings.Repeat("x", 500) + `"}`: "2026-05-01T12:00:00Z",
		"Mar  9 08:07:06 host sshd[1]: x":                                                        "2026-03-09T08:07:06Z",
		"Mar  9 08:07:06 host x: 2020-01-01 00:00:00":                                            "2026-03-09T08:07:06Z",
		"<34>Mar 11 08:07:06 host su: x":                                                         "2026-03-11T08:07:06Z", // a clock or a zone ahead
		"I0309 08:07:06.000001       1 klog.go:1] x":                                             "2026-03-09T08:07:06.000001Z",
		"Dec 31 23:59:59 host x":                                                                 "2025-12-31T23:59:59Z",
		"Feb 29 01:02:03 host x":                                                                 "2024-02-29T01:02:03Z",
		"2026-05-01T12:00:60Z a leap second":                                                     "2026-05-01T12:01:00Z",
		// None, or none that is sure.
		"Feb 30 01:02:03 host x":                            "",
		"no time at all":                                    "",
		"2026-13-01T12:00:00Z":                              "",
		"05/06/2026 12:00:00 May or June":                   "",
		"5551234567 is a number, and so is 9999999999999":   "",
		"1234567890abc an id":                               "",
		"2026 is a year, and 12:00 a time":                  "",
		"[  123.456789] usb 1-1: of the kernel, since boot": "",
		"0000-01-01T00:00:00+01:00":                         "",
		"12026-05-01T12:00:00Z":                             "",
		strings.Repeat("x", 200) + " 2026-05-01T12:00:00Z":  "",
		"": "",
	} {
		found, ok := clockAt(march10, time.UTC).of([]byte(line), &years{})
		got := ""
		if ok {
			got = found.at.Format(time.RFC3339Nano)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// -zone is that of times which name none, and of no others.
func TestZone(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"2026-05-01 12:00:00 x":                        "2026-05-01T12:00:00+02:00",
		"2026-01-01 12:00:00 x":                        "2026-01-01T12:00:00+01:00",
		"2026-05-01 12:00:00Z x":                       "2026-05-01T12:00:00Z",
		"2026-05-01 12:00:00 CEST x":                   "2026-05-01T12:00:00+02:00",
		"2026/05/01 12:00:00 [error]":                  "2026-05-01T12:00:00+02:00",
		"[Fri May 01 12:00:00 2026] [core:error]":      "2026-05-01T12:00:00+02:00",
		"Mar  9 08:07:06 host x":                       "2026-03-09T08:07:06+01:00",
		"1764293012 x":                                 "2025-11-28T01:23:32Z",
		"10.0.0.1 - - [01/May/2026:12:00:00 -0300] \"": "2026-05-01T12:00:00-03:00",
	} {
		found, ok := clockAt(march10, berlin).of([]byte(line), &years{})
		if got := found.at.Format(time.RFC3339Nano); !ok || got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// Years of times without one come from the order of the lines and the date of
// the file: the same for a line when its file has grown, and when it is a copy.
func TestYears(t *testing.T) {
	january27 := time.Date(2027, 1, 20, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		lines   string // month and day each
		written time.Time
		want    string
	}{
		"this year":                         {"Mar 1,Mar 9", march10, "2026 2026"},
		"last year":                         {"Nov 1,Dec 31", march10, "2025 2025"},
		"over the turn":                     {"Nov 1,Dec 31,Jan 1,Mar 9", march10, "2025 2025 2026 2026"},
		"two turns":                         {"Nov 1,Feb 2,Dec 31,Jan 1", march10, "2024 2025 2025 2026"},
		"grown for a year":                  {"Mar 1,Dec 31,Jan 19", january27, "2026 2026 2027"},
		"out of order at the turn":          {"Dec 31,Jan 1,Dec 31,Jan 1", march10, "2025 2026 2025 2026"},
		"out of order":                      {"Mar 2,Mar 1,Mar 2", march10, "2026 2026 2026"},
		"half a year of silence":            {"Jan 1,Nov 1", january27, "2026 2026"},
		"a leap day":                        {"Feb 28,Feb 29,Mar 1", time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), "2024 2024 2024"},
		"a copy, its date kept, read later": {"Jan 5,Mar 9", march10, "2026 2026"},
	} {
		var text string
		for day := range strings.SplitSeq(c.lines, ",") {
			text += day[:3] + "  " + day[4:] + " 12:00:00 host x\n"
		}
		y := years{last: firstYear(strings.NewReader(text), c.written, time.UTC)}
		var got []string
		for line := range strings.Lines(text) {
			found, ok := clockAt(january27, time.UTC).of([]byte(line), &y)
			if !ok {
				t.Errorf("%s: %q has no time", name, line)
			}
			got = append(got, found.at.Format("2006"))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
	}
}

// Whatever a line holds, its time is one that the contract allows.
func FuzzTimestampOf(f *testing.F) {
	f.Add([]byte("2026-05-01 12:00:00,123 +0530"))
	f.Add([]byte("Mar  9 08:07:06 host"))
	f.Add([]byte("[01/May/2026:12:00:00 +0200]"))
	f.Add([]byte("Fri May  1 12:00:00 EST 2026"))
	f.Add([]byte(`{"time":"May 1, 2026 3:04:05 PM"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		found, ok := clockAt(march10, time.UTC).of(line, &years{})
		if !ok {
			return
		}
		text := found.at.Format(time.RFC3339Nano)
		if again, err := time.Parse(time.RFC3339, text); err != nil || !again.Equal(found.at) {
			t.Fatalf("%q gives %s: %v", line, text, err)
		}
	})
}
