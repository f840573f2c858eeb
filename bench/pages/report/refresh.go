package report

import (
	"errors"
	"path/filepath"

	"sekali/bench/experiment/saturation"
	"sekali/bench/judge"
	"sekali/bench/record"
)

// refresh makes anew what the result folders below reference have that is not raw: the figures in
// run.json, bench.txt and the pages, and of a search its figures. Raw files that are not those of
// run.json are an error: nothing that follows from them may be written as if they were.
func refresh(reference string) error {
	folders, err := record.Open(reference)
	if err != nil {
		return err
	}
	searches, err := searchFolders(reference)
	if err != nil {
		return err
	}
	for _, dir := range searches {
		found, err := saturation.Read(dir)
		if err != nil {
			return err
		}
		for _, below := range found.Dirs() {
			more, err := record.Open(filepath.Join(dir, filepath.FromSlash(below)))
			if err != nil {
				return err
			}
			folders = append(folders, more...)
		}
	}
	for _, f := range folders {
		if err := errors.Join(record.CheckFiles(f)...); err != nil {
			return err
		}
		if _, err := judge.Finish(f.Dir); err != nil {
			return err
		}
		if hasPage(f.Dir) {
			if err := WritePage(f.Dir); err != nil {
				return err
			}
		}
	}
	for _, dir := range searches {
		found, err := saturation.Read(dir)
		if err == nil {
			found, err = saturation.Recompute(dir, found)
		}
		if err == nil {
			err = found.Write(dir)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hasPage: the reference and the probes of a search have none.
func hasPage(dir string) bool { return there(dir, record.PageFile) }
