package runner

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"sekali/bench/figures"
	"sekali/bench/internal/audit"
	"sekali/bench/record"
	"sekali/loadgen/ledger"
)

// showEvery is how many audited events lie between two looks at the progress.
const showEvery = 10_000

// The steps of an audit, for people.
const (
	auditExport  = "audit 1/3 events"
	auditReading = "audit 2/3 pages"
	auditDisk    = "audit 3/3 disk"
)

// audit compares the ledger with what is stored, stops a process of ours and looks into its
// database. Nothing is measured any more, so that steps which need not wait for each other are
// taken at the same time.
func (s *session) audit(ctx context.Context) (err error) {
	s.status(auditExport, 0)
	final, err := s.aggregator.stats(ctx, false)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	reference, outside := audit.NewReference(s.base.LastSeq), s.outside()
	reference.Sightings(outside.Sightings)
	var report audit.Report
	var backup *audit.Backup
	defer func() { err = errors.Join(err, backup.Remove()) }()
	if err := together(
		func() (err error) {
			report, err = s.checkExport(ctx, reference, s.counters(final), outside)
			return err
		},
		func() (err error) { backup, err = s.takeBackup(ctx); return err },
	); err != nil {
		return err
	}
	syncs, err := s.checkSyncs(final)
	if err != nil {
		return err
	}
	report.AddChecks(syncs...)
	report.AddChecks(s.watch.checks(reference)...)
	raw, err := record.ReadRawOf(s.dir, s.run)
	if err != nil {
		return err
	}
	report.AddChecks(audit.None(figures.NotReceived, figures.AcknowledgedNotReceived(raw)))
	reading, err := s.checkReading(ctx, reference, backup, final.UniqueProcessed)
	if err != nil {
		return err
	}
	report.AddChecks(reading...)
	if err := s.replicas.audit(ctx, &report, s.base.LastSeq, final.UniqueProcessed); err != nil {
		return err
	}
	if !s.aggregator.external() {
		if err := s.endLast(ctx); err != nil {
			return err
		}
		database, same, err := s.checkDisk(ctx, reference, final.UniqueProcessed)
		if err != nil {
			return err
		}
		report.AddDatabase(database, final.UniqueProcessed)
		report.AddChecks(same)
	}
	s.run.Audit = &report
	return writeAudit(s.dir, report)
}

// together takes steps at the same time, and returns what went wrong with any.
func together(steps ...func() error) error {
	failed := make([]error, len(steps))
	var running sync.WaitGroup
	for i, step := range steps {
		running.Go(func() { failed[i] = step() })
	}
	running.Wait()
	return errors.Join(failed...)
}

// checkExport holds an export of all events to the ledger, and keeps what it gave.
func (s *session) checkExport(ctx context.Context, reference *audit.Reference, counters *audit.Counters, outside *audit.Outside) (audit.Report, error) {
	events := audit.Export(ctx, s.aggregator.client, s.aggregator.url, s.aggregator.token, s.base.LastSeq)
	kept := record.NewCollector(s.stream)
	report, err := Audit(s.dir, s.run, s.counted(auditExport, kept.Tee(reference.Tee(events)), counters.UniqueProcessed), counters, outside)
	if err == nil {
		err = record.WriteStored(s.dir, kept.Stored(false))
	}
	return report, err
}

// counters are those of the load, by what /stats says after it.
func (s *session) counters(final stats) *audit.Counters {
	counters := &audit.Counters{
		Received:         final.Received - s.base.Received,
		UniqueProcessed:  final.UniqueProcessed - s.base.UniqueProcessed,
		DuplicateDropped: final.DuplicateDropped - s.base.DuplicateDropped,
		Failed:           final.Failed - s.base.Failed,
		Rejected:         final.Rejected - s.base.Rejected,
		QueueDepth:       final.QueueDepth,
		Conflicts:        final.Conflicts - s.base.Conflicts,
	}
	var before audit.ByCode // a process of ours had rejected nothing, and this may be another one
	if s.aggregator.external() {
		before = s.base.RejectedByCode
	}
	counters.RejectedInLife = final.RejectedByCode.Since(before)
	if len(s.base.Topics) == 0 && final.Topics != nil { // what an earlier run has left is not of the ledger
		counters.Topics = map[string]uint64{}
		for _, t := range final.Topics {
			counters.Topics[t.Name] = t.Events
		}
	}
	return counters
}

// endLast stops the process gracefully.
func (s *session) endLast(ctx context.Context) error { return s.aggregator.end(ctx, syscall.SIGTERM) }

// counted shows how far a step of the audit has come.
func (s *session) counted(step string, events iter.Seq2[*audit.Event, error], total uint64) iter.Seq2[*audit.Event, error] {
	return func(yield func(*audit.Event, error) bool) {
		var n uint64
		for event, err := range events {
			if n++; n%showEvery == 0 {
				s.status(step, float64(n)/float64(max(total, n)))
			}
			if !yield(event, err) {
				return
			}
		}
	}
}

// Audit holds stored events against the ledger of a result folder. counters may be nil: then they
// are not checked; so may what was seen from outside.
func Audit(dir string, run record.Run, events iter.Seq2[*audit.Event, error], counters *audit.Counters, outside *audit.Outside) (audit.Report, error) {
	sent, err := figures.Sent(run, func() iter.Seq2[ledger.Attempt, error] {
		return ledger.ReadFile(filepath.Join(dir, record.RequestsFile))
	})
	if err != nil {
		return audit.Report{}, err
	}
	sent.Outside = outside
	checker, err := audit.NewChecker(sent)
	if err != nil {
		return audit.Report{}, err
	}
	for event, err := range events {
		if err != nil {
			return audit.Report{}, err
		}
		checker.Add(event)
	}
	return checker.Finish(counters)
}

func writeAudit(dir string, report audit.Report) error {
	text, err := record.MarshalJSON(report)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, record.AuditFile), text, 0o644)
}

// AuditFolder audits a finished result folder again, against a file of exported events (NDJSON) or
// a server's URL.
func AuditFolder(ctx context.Context, dir, source, token string) (audit.Report, error) {
	run, err := record.ReadRun(dir)
	if err != nil {
		return audit.Report{}, err
	}
	if IsURL(source) {
		return Audit(dir, run, audit.Export(ctx, &http.Client{Transport: &http.Transport{Proxy: nil}}, source, token, 0), nil, nil)
	}
	file, err := os.Open(source)
	if err != nil {
		return audit.Report{}, fmt.Errorf("audit: %w", err)
	}
	defer file.Close()
	return Audit(dir, run, audit.Read(file), nil, nil)
}
