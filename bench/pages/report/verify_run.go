package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"sekali/bench/experiment/runner"
	"sekali/bench/figures"
	"sekali/bench/internal/audit"
	"sekali/bench/judge"
	"sekali/bench/record"
)

// verifyFolder holds a result folder to its raw files.
func verifyFolder(f record.Folder) []error {
	differences := record.CheckFiles(f)
	raw, err := record.ReadRaw(f.Dir)
	if err != nil {
		return append(differences, err)
	}
	summary, err := figures.Summarize(raw)
	if err != nil {
		return append(differences, fmt.Errorf("%s: %w", f.Dir, err))
	}
	name := filepath.Join(f.Dir, record.RunFile)
	differences = append(differences, compareJSON(name+": summary", f.Run.Summary, summary)...)
	differences = append(differences, compareJSON(name+": validity", f.Run.Validity, judge.Validate(raw, summary))...)
	bench, err := figures.BenchText(f.Run)
	differences = append(differences, verifyDerived(filepath.Join(f.Dir, record.BenchFile), bench, err)...)
	if hasPage(f.Dir) {
		text, err := Page(f.Dir)
		differences = append(differences, verifyDerived(filepath.Join(f.Dir, record.PageFile), text, err)...)
	}
	return append(differences, verifyAudit(f, raw, summary)...)
}

// verifyAudit holds the audit to the ledger and to what is stored, and the expectations to it.
func verifyAudit(f record.Folder, raw *record.Raw, summary record.Summary) (differences []error) {
	name := filepath.Join(f.Dir, record.RunFile)
	var audited audit.Report
	text, err := os.ReadFile(filepath.Join(f.Dir, record.AuditFile))
	if err == nil {
		err = json.Unmarshal(text, &audited)
	}
	if err != nil {
		return []error{fmt.Errorf("%s: %w", filepath.Join(f.Dir, record.AuditFile), err)}
	}
	if f.Run.Audit == nil {
		return []error{fmt.Errorf("%s: not audited", name)}
	}
	differences = compareJSON(name+": audit", *f.Run.Audit, audited)
	again, err := figures.Audit(raw, audited)
	if err != nil {
		differences = append(differences, fmt.Errorf("%s: %w", f.Dir, err))
	}
	differences = append(differences, compareJSON(filepath.Join(f.Dir, record.AuditFile), audited, again)...)
	raw.Run.Audit, raw.Run.Summary = &again, summary
	expected, err := runner.Recompute(raw)
	if err != nil {
		return append(differences, fmt.Errorf("%s: %w", name, err))
	}
	return append(differences, compareJSON(name+": expectations", f.Run.Expectations, expected)...)
}
