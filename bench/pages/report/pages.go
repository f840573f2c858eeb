package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"path"
	"strings"
	"text/template"
)

// pagesDir holds what REPORT.md leads to: a page for each scenario, and one for each other subject.
const pagesDir = "results/pages"

//go:embed pages.md.tmpl
var pagesText string

var pagesTemplate = template.Must(template.New("pages").Funcs(markdownFuncs).Parse(pagesText))

// pages are the files that REPORT.md leads to.
func (v view) pages() ([]file, error) {
	var files []file
	add := func(name, part string, data any) error {
		var text bytes.Buffer
		if err := pagesTemplate.ExecuteTemplate(&text, part, data); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		files = append(files, file{path.Join(pagesDir, name+".md"), fromPages(text.Bytes())})
		return nil
	}
	for _, s := range v.Sections {
		if err := add(s.Name, "scenario", struct {
			section
			view
		}{s, v}); err != nil {
			return nil, err
		}
	}
	for _, p := range []struct {
		name  string
		there bool
	}{
		{"ack-table", v.AckTable != ""}, {"faults", v.Faults != nil}, {"cluster-faults", v.OfCluster != nil}, {"soak", v.Soak != nil}, {"beside", v.Beside != nil}, {"senders", v.Senders != nil},
		{"scenarios", true}, {"costs", true}, {"machines", true},
	} {
		if !p.there {
			continue
		}
		if err := add(p.name, p.name, v); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// fromPages turns links from the repository's root into links from the pages' folder.
func fromPages(text []byte) []byte {
	return []byte(strings.NewReplacer("](results/pages/", "](", "](results/", "](../", "](REPORT.md", "](../../REPORT.md",
		"](docs/", "](../../docs/").Replace(string(text)))
}
