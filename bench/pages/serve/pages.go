package serve

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	comparison "sekali/bench/pages/compare"
	"sekali/bench/pages/report"
	"sekali/bench/record"
)

const (
	// pagePolicy is that of the pages made here, which have no script: nothing is loaded but pictures
	// of this server.
	pagePolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	// filePolicy is that of a result's files, which may come from elsewhere: their scripts run, apart
	// from everything.
	filePolicy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'; sandbox allow-scripts"
)

//go:embed *.html.tmpl serve.css
var templates embed.FS

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"style": func() (template.CSS, error) {
		text, err := templates.ReadFile("serve.css")
		return template.CSS(text), err
	},
	"url":    fileURL,
	"join":   func(folder, name string) string { return path.Join(folder, name) },
	"number": number,
	"trend":  trendURL,
	"choice": func(side, path string) any {
		return struct{ Side, Path string }{side, path}
	},
}).ParseFS(templates, "*.html.tmpl"))

// fileURL escapes each part of a path, and leaves the slashes.
func fileURL(name string) string {
	if name == "." {
		return "/files"
	}
	return (&url.URL{Path: "/files/" + name}).EscapedPath()
}

func (h *Handler) front(w http.ResponseWriter, _ *http.Request) {
	all, err := h.find()
	if err != nil {
		fail(w, err)
		return
	}
	show(w, "list.html.tmpl", struct {
		Dir  string
		Most int
		there
	}{h.dir, maxRuns, all})
}

// files shows a file, or what a folder holds. A result's folder opens on its page, and with ?list
// on its files.
func (h *Handler) files(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("path")
	folder := name == "" || strings.HasSuffix(name, "/")
	name = strings.TrimSuffix(name, "/")
	// os.Root refuses what leads out; a hidden name, such as a data folder of a run under way, is
	// nobody's business.
	if name == "" {
		name = "."
	}
	if !fs.ValidPath(name) || hidden(name) {
		http.NotFound(w, r)
		return
	}
	info, err := h.root.Stat(filepath.FromSlash(name))
	switch {
	case err != nil && !folder && path.Base(name) == record.PageFile && h.hasPage(path.Dir(name)):
		h.page(w, r, path.Dir(name))
	case err != nil:
		http.NotFound(w, r)
	case info.IsDir() && folder && !r.URL.Query().Has("list") && h.hasPage(name):
		http.Redirect(w, r, fileURL(path.Join(name, record.PageFile)), http.StatusFound)
	case info.IsDir() && folder:
		h.folder(w, name)
	case info.IsDir():
		http.Redirect(w, r, fileURL(name)+"/", http.StatusMovedPermanently)
	case info.Mode().IsRegular() && !folder:
		w.Header().Set("Content-Security-Policy", filePolicy)
		w.Header().Set("Content-Type", contentType(name))
		http.ServeFileFS(w, r, h.root.FS(), name)
	default:
		http.NotFound(w, r)
	}
}

// hasPage: a result's folder has a page, or one can be made of its files.
func (h *Handler) hasPage(name string) bool {
	return h.exists(name, record.PageFile) || h.exists(name, record.RunFile)
}

// page makes the page of a result whose folder has none: git keeps none of results/reference, and a
// search writes none for its probes.
func (h *Handler) page(w http.ResponseWriter, r *http.Request, name string) {
	// The report reads by paths, not through the root, which alone holds links back.
	err := fs.WalkDir(h.root.FS(), name, func(file string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type()&fs.ModeSymlink != 0 {
			err = fmt.Errorf("%s is a link", file)
		}
		return err
	})
	select {
	case h.turns <- struct{}{}:
		defer func() { <-h.turns }()
	case <-r.Context().Done():
		return
	}
	var text []byte
	if err == nil {
		text, err = report.Page(filepath.Join(h.dir, filepath.FromSlash(name)))
	}
	if err != nil {
		fail(w, fmt.Errorf("no page can be made of %s, whose files are at %s/?list: %w", name, fileURL(name), err))
		return
	}
	w.Header().Set("Content-Security-Policy", filePolicy)
	w.Header().Set("Content-Type", contentType(record.PageFile))
	_, _ = w.Write(text) // the reader may have gone
}

func hidden(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") && name != "." {
			return true
		}
	}
	return false
}

// contentType does not depend on what the machine knows of file names. What is not known is shown
// as text.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".json":
		return "application/json"
	case ".gz", ".zst":
		return "application/octet-stream"
	}
	return "text/plain; charset=utf-8"
}

func (h *Handler) folder(w http.ResponseWriter, name string) {
	entries, err := fs.ReadDir(h.root.FS(), name)
	if err != nil {
		fail(w, err)
		return
	}
	type file struct {
		Name, Path string
		Bytes      int64
	}
	var files []file
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || hidden(entry.Name()) {
			continue // gone meanwhile
		}
		one := file{Name: entry.Name(), Path: path.Join(name, entry.Name()), Bytes: info.Size()}
		if entry.IsDir() {
			one.Name, one.Path, one.Bytes = one.Name+"/", one.Path+"/", -1
		}
		files = append(files, one)
	}
	show(w, "folder.html.tmpl", struct {
		Name  string
		Files []file
	}{name, files})
}

// compare shows what `bench compare` prints, and the queue traces.
func (h *Handler) compare(w http.ResponseWriter, r *http.Request) {
	a, b := r.FormValue("a"), r.FormValue("b")
	for _, side := range []string{a, b} {
		known, err := h.known(side)
		if err != nil {
			fail(w, err)
			return
		}
		if !known {
			http.Error(w, fmt.Sprintf("%q is no run and no result of the list: choose an A and a B there", side), http.StatusNotFound)
			return
		}
	}
	select {
	case h.turns <- struct{}{}:
		defer func() { <-h.turns }()
	case <-r.Context().Done():
		return
	}
	view, err := h.compared(a, b)
	if err != nil {
		fail(w, err)
		return
	}
	show(w, "compare.html.tmpl", view)
}

type comparedView struct {
	A, B, Verdict, Problem, Text string
	Pictures                     []picture
}

type picture struct {
	Name string
	Data template.URL // data:image/svg+xml
}

func (h *Handler) compared(a, b string) (comparedView, error) {
	view := comparedView{A: a, B: b}
	scratch, err := os.MkdirTemp("", "sekali-compare-")
	if err != nil {
		return view, err
	}
	defer os.RemoveAll(scratch)
	var text bytes.Buffer
	under := func(name string) string { return filepath.Join(h.dir, filepath.FromSlash(name)) }
	result, err := comparison.Run(comparison.Config{A: under(a), B: under(b), Pictures: scratch}, &text)
	if err != nil {
		view.Problem = err.Error()
	}
	view.Verdict = result.Verdict.String()
	view.Text = strings.ReplaceAll(text.String(), scratch+string(filepath.Separator), "")
	drawn, err := filepath.Glob(filepath.Join(scratch, "*.svg"))
	for _, name := range drawn {
		svg, readErr := os.ReadFile(name)
		err = errors.Join(err, readErr)
		view.Pictures = append(view.Pictures, picture{strings.TrimSuffix(filepath.Base(name), ".svg"), dataURL(svg)})
	}
	return view, err
}

func show(w http.ResponseWriter, name string, view any) {
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, name, view); err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(page.Bytes())
}

func fail(w http.ResponseWriter, err error) {
	http.Error(w, err.Error(), http.StatusInternalServerError)
}
