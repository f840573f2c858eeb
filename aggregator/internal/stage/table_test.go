package stage

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// declared are the functions of a package as profiles name them, and its types with methods.
func declared(t *testing.T, pkg string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", pkg, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", pkg, len(files), err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			name := f.Name.Name
			if f.Recv != nil {
				if star, ok := f.Recv.List[0].Type.(*ast.StarExpr); ok {
					if of, ok := star.X.(*ast.Ident); ok {
						name = "(*" + of.Name + ")." + name
					}
				}
			}
			names = append(names, name)
		}
	}
	return names
}

// TestTable: every prefix is that of a function there is, and none stands behind a wider one,
// where it would never count.
func TestTable(t *testing.T) {
	table := New()
	for i, f := range table.Functions {
		if !slices.Contains(table.Stages, f.Stage) {
			t.Errorf("%s: the stage %q is none", f.Prefix, f.Stage)
		}
		for _, before := range table.Functions[:i] {
			if strings.HasPrefix(f.Prefix, before.Prefix) {
				t.Errorf("%s stands behind %s", f.Prefix, before.Prefix)
			}
		}
		own, ok := strings.CutPrefix(f.Prefix, "sekali/aggregator/")
		if !ok {
			continue
		}
		pkg, prefix, _ := strings.Cut(own, ".")
		if !slices.ContainsFunc(declared(t, pkg), func(name string) bool { return strings.HasPrefix(name, prefix) }) {
			t.Errorf("no function begins with %s", f.Prefix)
		}
	}
}

// TestEveryStageIsListed: a stage that is declared is in the table.
func TestEveryStageIsListed(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "stage.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	ast.Inspect(file, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if f, ok := call.Fun.(*ast.Ident); ok && f.Name == "named" {
				names = append(names, strings.Trim(call.Args[0].(*ast.BasicLit).Value, `"`))
			}
		}
		return true
	})
	if table := New(); len(names) == 0 || !slices.Equal(names, table.Stages) {
		t.Errorf("declared are %q, the table has %q", names, table.Stages)
	}
}
