package client_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestHowto: the code of the page is code of the Examples.
func TestHowto(t *testing.T) {
	page, err := os.ReadFile("../docs/howto/go-client.md")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "example_test.go", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	var bodies []string
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(f.Name.Name, "Example") {
			body := string(text[set.Position(f.Body.Lbrace).Offset+1 : set.Position(f.Body.Rbrace).Offset])
			bodies = append(bodies, strings.ReplaceAll(body, "\n\t", "\n"))
		}
	}
	blocks := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(string(page), -1)
	if len(blocks) < 3 {
		t.Errorf("the page has %d blocks of Go", len(blocks))
	}
	for _, block := range blocks {
		found := false
		for _, body := range bodies {
			found = found || strings.Contains(body, "\n"+block[1])
		}
		if !found {
			t.Errorf("no Example has\n%s", block[1])
		}
	}
}
