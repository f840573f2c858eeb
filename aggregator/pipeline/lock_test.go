package pipeline

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// harmless is what may be called under the admission lock beside this package's own functions,
// which are looked into: it makes no system call, and logs nothing. time.Now and time.Since read a
// clock without one.
var harmless = []string{
	"append", "cap", "clear", "close", "copy", "delete", "int", "int64", "len", "make", "max", "min", "new", "string",
	"errors.Is", "errors.Join", "fmt.Errorf", "slices.ContainsFunc", "slices.Delete", "time.Now", "time.Since",
	"store.AheadOf", "store.IsFull", // of a time and of an error, without the database
	"p.locked.Error", "i.entry.Accepted.IsZero", "i.acceptedAt.IsZero", "f.asked.After", "w.replication.hurried.Load", "r.waiting.Load",
}

// lockCheck finds what is called under the admission lock.
type lockCheck struct {
	declared map[string][]*ast.FuncDecl // by the name alone: methods of several types may share it
	imports  map[string]bool
	seen     map[*ast.FuncDecl]bool
	found    []string
	sections int
}

func newLockCheck(t *testing.T, sources map[string]any) *lockCheck {
	t.Helper()
	c := &lockCheck{declared: map[string][]*ast.FuncDecl{}, imports: map[string]bool{}, seen: map[*ast.FuncDecl]bool{}}
	for name, text := range sources {
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range file.Imports {
			c.imports[filepath.Base(strings.Trim(i.Path.Value, `"`))] = true
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
				c.declared[f.Name.Name] = append(c.declared[f.Name.Name], f)
			}
		}
	}
	for _, all := range c.declared {
		for _, f := range all {
			c.block(f.Name.Name, f.Body.List, false)
		}
	}
	slices.Sort(c.found)
	c.found = slices.Compact(c.found)
	return c
}

// block follows the lock through statements in their order. What a nested block does to it ends
// with that block, for there it is given back only before a return.
func (c *lockCheck) block(in string, list []ast.Stmt, held bool) {
	for _, s := range list {
		switch lock := lockCall(s); {
		case lock == "lock":
			held = true
			c.sections++
			continue
		case lock == "unlock":
			held = false
			continue
		}
		ast.Inspect(s, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.DeferStmt:
				return !isUnlock(n.Call) && c.call(in, n.Call, held)
			case *ast.GoStmt: // another goroutine does not hold it
				if f, ok := n.Call.Fun.(*ast.FuncLit); ok {
					c.block(in, f.Body.List, false)
				}
				return false
			case *ast.BlockStmt:
				c.block(in, n.List, held)
				return false
			case *ast.CaseClause:
				for _, e := range n.List {
					c.expression(in, e, held)
				}
				c.block(in, n.Body, held)
				return false
			case *ast.CommClause:
				c.block(in, n.Body, held)
				return false
			case *ast.CallExpr:
				return c.call(in, n, held)
			}
			return true
		})
	}
}

func (c *lockCheck) expression(in string, e ast.Expr, held bool) {
	c.block(in, []ast.Stmt{&ast.ExprStmt{X: e}}, held)
}

// call notes a call under the lock that is not harmless. It returns true: arguments may call too.
func (c *lockCheck) call(in string, call *ast.CallExpr, held bool) bool {
	if !held {
		return true
	}
	text := types.ExprString(call.Fun)
	name, own := text, false
	switch f := call.Fun.(type) {
	case *ast.FuncLit, *ast.ArrayType: // its body is looked at; a conversion
		return true
	case *ast.Ident:
		own = true
	case *ast.SelectorExpr:
		of, ok := f.X.(*ast.Ident)
		name, own = f.Sel.Name, !(ok && c.imports[of.Name])
	}
	switch decls := c.declared[name]; {
	case slices.Contains(harmless, text):
	case own && len(decls) > 0 && !strings.Contains(text, ".journal.") && !strings.Contains(text, ".store."):
		for _, f := range decls {
			if !c.seen[f] {
				c.seen[f] = true
				c.block(f.Name.Name, f.Body.List, true)
			}
		}
	default:
		c.found = append(c.found, in+" calls "+text)
	}
	return true
}

// lockCall says what a statement does to the admission lock: "lock", "unlock" or nothing.
func lockCall(s ast.Stmt) string {
	e, ok := s.(*ast.ExprStmt)
	if !ok {
		return ""
	}
	call, ok := e.X.(*ast.CallExpr)
	if !ok {
		return ""
	}
	switch text := types.ExprString(call.Fun); {
	case text == "p.mu.Lock", text == "w.mu.Lock", text == "p.lockFresh", text == "w.lockFresh":
		return "lock"
	case isUnlock(call):
		return "unlock"
	}
	return ""
}

func isUnlock(call *ast.CallExpr) bool {
	text := types.ExprString(call.Fun)
	return text == "p.mu.Unlock" || text == "w.mu.Unlock"
}

// TestNoSystemCallUnderAdmissionLock: every publisher waits for it.
func TestNoSystemCallUnderAdmissionLock(t *testing.T) {
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]any{}
	for _, path := range paths {
		if !strings.HasSuffix(path, "_test.go") {
			sources[path] = nil
		}
	}
	c := newLockCheck(t, sources)
	for _, found := range c.found {
		t.Errorf("under the admission lock %s", found)
	}
	if c.sections < 20 {
		t.Errorf("only %d sections: the check looks in the wrong place", c.sections)
	}
}

// TestLockCheckFinds is the control: a system call and a line of the log, each a function deep.
func TestLockCheckFinds(t *testing.T) {
	const source = `package pipeline
import "os"
func (p *Pipeline) direct() { p.mu.Lock(); if true { p.mu.Unlock(); os.Getpid(); return }; os.Remove("x"); p.mu.Unlock(); os.Getpid() }
func (p *Pipeline) deferred() { p.lockFresh(1); defer p.mu.Unlock(); p.helper() }
func (p *Pipeline) helper() { switch { case p.journal.Free() > 0: p.log.Warn("full") } }
func (p *Pipeline) beside() { p.mu.Lock(); go func() { os.Getpid() }(); p.mu.Unlock() }
`
	want := []string{"direct calls os.Remove", "helper calls p.journal.Free", "helper calls p.log.Warn"}
	if c := newLockCheck(t, map[string]any{"x.go": source}); !slices.Equal(c.found, want) {
		t.Errorf("found %q, want %q", c.found, want)
	}
}
