// Package house_test keeps the form of the code that a machine can see.
package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// The bounds. A function of tests may be longer: its table is data.
const (
	textColumns   = 100 // of a comment, and of a document
	functionLines = 70
)

// sources calls do with each Go file of the repository.
func sources(t *testing.T, do func(name string, text []byte)) {
	t.Helper()
	files := 0
	err := filepath.WalkDir("../..", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(entry.Name(), ".") && len(entry.Name()) > 2
		if entry.IsDir() && (entry.Name() == "testdata" || hidden) {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err == nil {
			files++
			do(strings.TrimPrefix(name, "../../"), text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Errorf("only %d files: the test looks in the wrong place", files)
	}
}

// TestCommentWidth: a line that is a comment has at most 100 columns, a tab counted as one.
func TestCommentWidth(t *testing.T) {
	sources(t, func(name string, text []byte) {
		for i, line := range strings.Split(string(text), "\n") {
			columns := utf8.RuneCountInString(line)
			if strings.HasPrefix(strings.TrimSpace(line), "// ") && columns > textColumns {
				t.Errorf("%s:%d: a comment of %d columns", name, i+1, columns)
			}
		}
	})
}

// marks begin a comment of what is not Go, by the end or the whole of the file's name. A script
// without an end of its name begins with #!.
var marks = map[string]string{".yaml": "#", ".yml": "#", ".sh": "#", ".conf": "#", ".service": "#", ".sysusers": "#", ".sql": "--", ".js": "//",
	"Makefile": "#", "Dockerfile": "#", ".env": "#", "": "#"}

// TestCommentWidthElsewhere: so has one of scenarios, settings, scripts and tables.
func TestCommentWidthElsewhere(t *testing.T) {
	seen := map[string]int{}
	err := filepath.WalkDir("../..", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() && (base == "testdata" || base == "results" || base == ".git") {
			return filepath.SkipDir
		}
		kind := filepath.Ext(base)
		if _, whole := marks[base]; whole {
			kind = base
		}
		mark, known := marks[kind]
		if entry.IsDir() || !known {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil || kind == "" && !strings.HasPrefix(string(text), "#!") {
			return err
		}
		seen[kind]++
		for i, line := range strings.Split(string(text), "\n") {
			columns := utf8.RuneCountInString(line)
			if strings.HasPrefix(strings.TrimSpace(line), mark+" ") && columns > textColumns {
				t.Errorf("%s:%d: a comment of %d columns", strings.TrimPrefix(name, "../../"), i+1, columns)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for kind := range marks {
		if seen[kind] == 0 {
			t.Errorf("no file of the kind %q: the test looks in the wrong place", kind)
		}
	}
}

// TestDocumentWidth: so has a line of a document, but for those that cannot be broken (headings,
// tables, pictures) and for commands. REPORT.md is made by a program, from texts of any length.
func TestDocumentWidth(t *testing.T) {
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "docs/*/*/*.md"} {
		found, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	if len(pages) < 50 {
		t.Errorf("only %d documents: the test looks in the wrong place", len(pages))
	}
	for _, page := range pages {
		if filepath.Base(page) == "REPORT.md" {
			continue
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		commands := false
		for i, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				commands = !commands
			}
			columns := utf8.RuneCountInString(line)
			if columns > textColumns && !commands && !strings.ContainsAny(line[:1], "|#!<") {
				t.Errorf("%s:%d: a line of %d columns", strings.TrimPrefix(page, "../../"), i+1, columns)
			}
		}
	}
}

// TestAloneStartNothing: the packages that `make test` leaves out of the half with the race
// detector start no goroutine, and nor do their tests.
func TestAloneStartNothing(t *testing.T) {
	text, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	alone := regexp.MustCompile(`(?m)^ALONE := (.*)$`).FindSubmatch(text)
	if alone == nil {
		t.Fatal("the Makefile names none")
	}
	folder := regexp.MustCompile("^(" + string(alone[1]) + ")$")
	starts := regexp.MustCompile(`(?m)^\s*go |\.(Go|Parallel|RunParallel|AfterFunc)\(|http\.Serve|httptest\.New.*Server\(`)
	files := 0
	sources(t, func(name string, text []byte) {
		if !folder.MatchString(filepath.ToSlash(filepath.Dir(name))) {
			return
		}
		files++
		if at := starts.FindIndex(text); at != nil {
			t.Errorf("%s:%d starts a goroutine: take its package out of ALONE in the Makefile", name, 1+strings.Count(string(text[:at[1]]), "\n"))
		}
	})
	if files < 10 {
		t.Errorf("only %d files are of %s", files, alone[1])
	}
}

// TestCommandsLeaveNames: no function of these commands has the name of one of our packages, so
// that each is imported under its own.
func TestCommandsLeaveNames(t *testing.T) {
	packages, functions := map[string]bool{}, map[string]string{}
	sources(t, func(name string, text []byte) {
		file, err := parser.ParseFile(token.NewFileSet(), name, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		if file.Name.Name != "main" {
			packages[file.Name.Name] = true
			return
		}
		if !strings.HasPrefix(name, "cmd/bench/") && !strings.HasPrefix(name, "cmd/loadgen/") {
			return
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				functions[f.Name.Name] = name
			}
		}
		for _, i := range file.Imports {
			if i.Name != nil && strings.HasPrefix(i.Path.Value, `"sekali/`) {
				t.Errorf("%s imports %s as %s", name, i.Path.Value, i.Name.Name)
			}
		}
	})
	for function, name := range functions {
		if packages[function] {
			t.Errorf("%s: the function %s has the name of a package", name, function)
		}
	}
	if len(functions) < 10 {
		t.Errorf("only %d functions: the test looks in the wrong place", len(functions))
	}
}

// TestFunctionLength: a function fits a screen.
func TestFunctionLength(t *testing.T) {
	sources(t, func(name string, text []byte) {
		if strings.HasSuffix(name, "_test.go") {
			return
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if lines := set.Position(f.End()).Line - set.Position(f.Pos()).Line + 1; lines > functionLines {
				t.Errorf("%s: %s has %d lines", name, f.Name.Name, lines)
			}
		}
	})
}
