package judge_test

import (
	"strings"
	"testing"

	"sekali/bench/figures"
	"sekali/bench/judge"
	"sekali/bench/labtest/resulttest"
	"sekali/bench/record"
	"sekali/loadgen/ledger"
)

// Each way in which a run's figures are not the aggregator's makes it INVALID, and for that reason
// alone.
func TestValidity(t *testing.T) {
	const second = int64(1e9)
	for _, test := range []struct {
		name, reason string
		spoil        func(t *testing.T, dir string)
	}{
		{"as measured", "", func(*testing.T, string) {}},
		{"late generator", "the generator was late", func(t *testing.T, dir string) {
			resulttest.RewriteRequests(t, dir, func(a *ledger.Attempt) {
				if a.Request%5 == 0 {
					a.PlannedNS -= 60e6
				}
			})
		}},
		{"request not sent", "1 of 1051 planned requests were never sent", func(t *testing.T, dir string) {
			resulttest.RewriteRun(t, dir, func(r *record.Run) { r.Phases[1].Planned++ })
			resulttest.RewriteRequests(t, dir, func(*ledger.Attempt) {},
				ledger.Attempt{Request: 1050, Phase: 1, PlannedNS: 4 * second, Cause: ledger.CauseNotSent})
		}},
		{"request unknown to the ledger", "1 of 1051 planned requests were never sent", func(t *testing.T, dir string) {
			resulttest.RewriteRun(t, dir, func(r *record.Run) { r.Phases[1].Planned++ })
		}},
		{"generator saturated", "the generator took", func(t *testing.T, dir string) {
			resulttest.Rewrite(t, dir, func(s *record.Sample) { s.GeneratorCPUNS = s.TNS * 16 / 10 })
		}},
		{"another process", "others took 20 % of all cores, the bound is 15 %", func(t *testing.T, dir string) {
			resulttest.Rewrite(t, dir, func(s *record.Sample) { s.MachineCPUNS = resulttest.Others(s, 0.2) })
		}},
		{"a quiet machine", "", func(t *testing.T, dir string) {
			resulttest.Rewrite(t, dir, func(s *record.Sample) { s.MachineCPUNS = resulttest.Others(s, 0.1) })
		}},
		{"generator at its ceiling", "the generator, not the aggregator, set the rate: 83 %", func(t *testing.T, dir string) {
			resulttest.RewriteRun(t, dir, func(r *record.Run) {
				r.Generator.CeilingRequests, r.Generator.CeilingNS = uint64(r.Phases[1].Rate*12/10*0.3), 300e6
			})
		}},
		{"generator under its ceiling", "", func(t *testing.T, dir string) {
			resulttest.RewriteRun(t, dir, func(r *record.Run) {
				r.Generator.CeilingRequests, r.Generator.CeilingNS = uint64(r.Phases[1].Rate*2), 1e9
			})
		}},
		{"machine stalled", "the machine stood still for 400 ms", func(t *testing.T, dir string) {
			resulttest.RewriteRun(t, dir, func(r *record.Run) { r.Generator = record.Generator{Stalls: 1, LongestStallNS: 400e6} })
		}},
		{"wrong depth", "in 1 of", func(t *testing.T, dir string) {
			done := false
			resulttest.Rewrite(t, dir, func(s *record.Sample) {
				if s.TNS > second && !done {
					s.QueueDepth, done = s.QueueDepth+1, true
				}
			})
		}},
		{"a dead letter", "", func(t *testing.T, dir string) {
			resulttest.Rewrite(t, dir, func(s *record.Sample) {
				if s.TNS > second && s.UniqueProcessed > 0 {
					s.UniqueProcessed, s.Failed = s.UniqueProcessed-1, 1
				}
			})
		}},
		{"received before sent", "not those that the ledger had sent", func(t *testing.T, dir string) {
			resulttest.Rewrite(t, dir, func(s *record.Sample) {
				if s.TNS > 0 {
					s.Received, s.UniqueProcessed = s.Received+1000, s.UniqueProcessed+1000
				}
			})
		}},
		{"acknowledged and not received", "not those that the ledger had sent", func(t *testing.T, dir string) {
			resulttest.Rewrite(t, dir, func(s *record.Sample) {
				if s.TNS > 3*second {
					s.Received, s.UniqueProcessed = s.Received-1, s.UniqueProcessed-1
				}
			})
		}},
		{"trace with a gap", "the queue trace has a gap", func(t *testing.T, dir string) {
			resulttest.Rewrite(t, dir, func(s *record.Sample) {
				if s.TNS > second && s.TNS < 2*second+second/10 {
					s.AnsweredNS = 0
				}
			})
		}},
		{"latencies too long for the queue", "Little's law", func(t *testing.T, dir string) {
			resulttest.SpoilHistogram(t, dir, func(bucket *[2]int64) { bucket[0] *= 2 })
		}},
		{"latencies too short for the queue", "Little's law", func(t *testing.T, dir string) {
			resulttest.SpoilHistogram(t, dir, func(bucket *[2]int64) { bucket[0] = (bucket[0] + 1) / 2 })
		}},
		{"the longest latencies left out", "before the queue trace still has events that wait", func(t *testing.T, dir string) {
			resulttest.SpoilHistogram(t, dir, func(bucket *[2]int64) { bucket[0] = min(bucket[0], 1_500_000) })
		}},
		{"latencies too long, with a fault of the disk", "Little's law", func(t *testing.T, dir string) {
			resulttest.RewriteRun(t, dir, func(r *record.Run) {
				r.Fault = &record.FaultTimes{Kind: "slow-disk", AtNS: second, ReadyNS: 2 * second}
			})
			resulttest.SpoilHistogram(t, dir, func(bucket *[2]int64) { bucket[0] *= 2 })
		}},
		{"first answers of connections are slow", "the first answers of 8 connections took 400 ms (median)", func(t *testing.T, dir string) {
			resulttest.RewriteRun(t, dir, func(r *record.Run) { r.Generator.Connections, r.Generator.FirstAnswerNS = 8, 400e6 })
		}},
		{"first answers of connections are as fast as others", "", func(t *testing.T, dir string) {
			resulttest.RewriteRun(t, dir, func(r *record.Run) { r.Generator.Connections, r.Generator.FirstAnswerNS = 8, 20e6 })
		}},
		{"never drained", "not seen empty", func(t *testing.T, dir string) {
			resulttest.RewriteRun(t, dir, func(r *record.Run) { r.DrainedNS = 0 })
		}},
		{"tmpfs", "tmpfs", func(t *testing.T, dir string) {
			resulttest.RewriteRun(t, dir, func(r *record.Run) { r.Environment.Filesystem = "tmpfs" })
		}},
		{"tmpfs on purpose", "", func(t *testing.T, dir string) {
			resulttest.RewriteRun(t, dir, func(r *record.Run) { r.Environment.Filesystem, r.Environment.TmpfsIsAllowed = "tmpfs", true })
		}},
		{"a disk that is held", "", func(t *testing.T, dir string) {
			resulttest.RewriteRun(t, dir, func(r *record.Run) {
				r.Environment.Disk = &record.Disk{MBPerS: 125, MeasuredMBPerS: 127, MeasuredOperationsPerS: 9000}
			})
		}},
		{"a disk that takes more bytes", "held to 125 MB/s, and took 250", func(t *testing.T, dir string) {
			resulttest.RewriteRun(t, dir, func(r *record.Run) { r.Environment.Disk = &record.Disk{MBPerS: 125, MeasuredMBPerS: 250} })
		}},
		{"a disk that takes fewer operations", "held to 3000 operations/s, and took 1000", func(t *testing.T, dir string) {
			resulttest.RewriteRun(t, dir, func(r *record.Run) {
				r.Environment.Disk = &record.Disk{OperationsPerS: 3000, MeasuredOperationsPerS: 1000}
			})
		}},
		{"a network that is held", "", func(t *testing.T, dir string) {
			resulttest.RewriteRun(t, dir, func(r *record.Run) {
				r.Environment.Network = &record.Network{RTTMS: 20, MbitPerS: 1000, MeasuredRTTMS: 20.2, MeasuredMbitPerS: 949}
			})
		}},
		{"a network without a delay", "", func(t *testing.T, dir string) {
			resulttest.RewriteRun(t, dir, func(r *record.Run) {
				r.Environment.Network = &record.Network{MbitPerS: 100, MeasuredRTTMS: 0.1, MeasuredMbitPerS: 95}
			})
		}},
		{"a network that is nearer", "the network is to be held to 20 ms there and back, and took 0.1", func(t *testing.T, dir string) {
			resulttest.RewriteRun(t, dir, func(r *record.Run) { r.Environment.Network = &record.Network{RTTMS: 20, MeasuredRTTMS: 0.1} })
		}},
		{"a network that is slower", "the network is to be held to 1000 Mbit/s, and took 600", func(t *testing.T, dir string) {
			resulttest.RewriteRun(t, dir, func(r *record.Run) {
				r.Environment.Network = &record.Network{MbitPerS: 1000, MeasuredRTTMS: 0.1, MeasuredMbitPerS: 600}
			})
		}},
		{"dirty tree", "not committed", func(t *testing.T, dir string) {
			resulttest.RewriteRun(t, dir, func(r *record.Run) { r.Environment.Dirty = true })
		}},
		{"race build", "race detector", func(t *testing.T, dir string) {
			resulttest.RewriteRun(t, dir, func(r *record.Run) { r.Environment.Race = true })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := resulttest.Folder(t, resulttest.Burst)
			test.spoil(t, dir)
			v := validity(t, dir)
			if test.reason == "" {
				if !v.Valid {
					t.Errorf("%v", v)
				}
				return
			}
			if v.Valid || len(v.Reasons) != 1 || v.Reasons[0].Code == "" || !strings.Contains(v.Reasons[0].Text, test.reason) {
				t.Errorf("%v, expected %q alone", v, test.reason)
			}
		})
	}
}

// TestAcknowledgedNotReceived: that fewer events were received than acknowledged is counted apart,
// for the audit; that more were received than sent is not.
func TestAcknowledgedNotReceived(t *testing.T) {
	for shift, found := range map[int]bool{0: false, -1: true, +1000: false} {
		dir := resulttest.Folder(t, resulttest.Burst)
		resulttest.Rewrite(t, dir, func(s *record.Sample) {
			if s.TNS > 2e9 {
				s.Received, s.UniqueProcessed = uint64(int(s.Received)+shift), uint64(int(s.UniqueProcessed)+shift)
			}
		})
		raw, err := record.ReadRaw(dir)
		if err != nil {
			t.Fatal(err)
		}
		if n := figures.AcknowledgedNotReceived(raw); n > 0 != found {
			t.Errorf("received %+d: %d samples", shift, n)
		}
	}
}

func validity(t *testing.T, dir string) record.Validity {
	t.Helper()
	raw, err := record.ReadRaw(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := figures.Summarize(raw)
	if err != nil {
		t.Fatal(err)
	}
	return judge.Validate(raw, s)
}
