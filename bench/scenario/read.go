package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxFileBytes bounds what the YAML parser is given. The largest scenario of the lab has 3 KB.
	maxFileBytes = 64 << 10
	// maxDepth bounds the nesting of brackets before the parser, which recurses, sees the file.
	// Scenarios need 5.
	maxDepth = 20
	// maxCases bounds one file; with maxRequests it keeps a typing error from becoming a run of days.
	maxCases = 100
)

// Read reads and checks one scenario file. Its errors are of type *Error, except those of the file
// system.
func Read(path string) (*Scenario, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("scenario: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("scenario: %w", err)
	}
	return Parse(path, text)
}

// fileText is the shape of a scenario file.
type fileText struct {
	Name     string     `yaml:"name"`
	Question string     `yaml:"question"`
	Tags     []string   `yaml:"tags"`
	Settings Settings   `yaml:",inline"`
	Search   Search     `yaml:"search"`
	Sweep    *sweepText `yaml:"sweep"`
	Cases    []caseText `yaml:"cases"`
}

type caseText struct {
	Name     string   `yaml:"name"`
	Settings Settings `yaml:",inline"`
}

// Parse checks the text of a scenario; path only names it in errors.
func Parse(path string, text []byte) (*Scenario, error) {
	if len(text) > maxFileBytes {
		return nil, &Error{Path: path, Message: fmt.Sprintf("larger than %d bytes", maxFileBytes)}
	}
	if line, column, deep := nesting(text); deep {
		return nil, &Error{path, line, column, fmt.Sprintf("nested deeper than %d levels", maxDepth)}
	}
	root, err := parse(path, text)
	if err != nil {
		return nil, err
	}
	var content fileText
	if content.Search, err = newSearch(); err != nil {
		return nil, err
	}
	if err := decode(path, root, &content); err != nil {
		return nil, err
	}
	// The decoder is lenient with numbers: it cuts fractions off and reads 010 as 8.
	var slip numberFinder
	ast.Walk(&slip, root)
	if slip.token != nil {
		return nil, at(path, slip.token, fmt.Sprintf("%q is not %s", slip.token.Value, slip.want))
	}
	s := &Scenario{Path: path, Text: text, Name: content.Name, Question: content.Question, Tags: content.Tags, Search: content.Search}
	if err := resolve(path, root, content, s); err != nil {
		return nil, err
	}
	if err := check(s, root, content.Cases); err != nil {
		return nil, err
	}
	return s, nil
}

// nesting finds where brackets nest too deeply. It ignores quotes: a scenario has no need of 20
// brackets in a text.
func nesting(text []byte) (line, column int, deep bool) {
	line, depth := 1, 0
	for _, c := range text {
		column++
		switch c {
		case '[', '{':
			if depth++; depth > maxDepth {
				return line, column, true
			}
		case ']', '}':
			depth--
		case '\n':
			line, column = line+1, 0
		}
	}
	return 0, 0, false
}

// parse returns the file's one document, free of anchors, aliases and tags: a scenario that needs
// them is better written out, and without them no small file can grow large.
func parse(path string, text []byte) (ast.Node, error) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, located(path, err)
	}
	docs := slices.DeleteFunc(file.Docs, func(d *ast.DocumentNode) bool { return d.Body == nil })
	if len(docs) != 1 {
		return nil, &Error{Path: path, Message: fmt.Sprintf("%d documents where one is expected", len(docs))}
	}
	root := docs[0].Body
	var refusal refuser
	ast.Walk(&refusal, root)
	if refusal.token != nil {
		return nil, at(path, refusal.token, refusal.message)
	}
	if root.Type() != ast.MappingType && root.Type() != ast.MappingValueType {
		return nil, at(path, root.GetToken(), "a scenario is a mapping of names to values")
	}
	return root, nil
}

// refuser is an ast.Visitor that stops at the first node a scenario may not contain.
type refuser struct {
	token   *token.Token
	message string
}

func (r *refuser) Visit(node ast.Node) ast.Visitor {
	if r.token != nil {
		return nil
	}
	switch node.Type() {
	case ast.AnchorType:
		r.token, r.message = node.GetToken(), "anchors are not allowed"
	case ast.AliasType:
		r.token, r.message = node.GetToken(), "aliases are not allowed"
	case ast.MergeKeyType:
		r.token, r.message = node.GetToken(), "merge keys are not allowed"
	case ast.TagType:
		r.token, r.message = node.GetToken(), "tags are not allowed"
	}
	return r
}

// decimalText is how a whole number is written. YAML's other forms (010, 0x10, 1_000) mean
// different things to different readers.
var decimalText = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

// numberFinder is an ast.Visitor that stops at the first number the decoder would change in
// silence: a fraction anywhere but in `duplicates`, a whole number that is not plain decimal, or
// one beyond 64 bits.
type numberFinder struct {
	token *token.Token
	want  string
}

func (f *numberFinder) Visit(node ast.Node) ast.Visitor {
	if f.token != nil {
		return nil
	}
	switch n := node.(type) {
	case *ast.MappingValueNode:
		switch n.Value.Type() {
		case ast.FloatType, ast.InfinityType, ast.NanType:
			if n.Key.GetToken().Value != "duplicates" {
				f.token, f.want = n.Value.GetToken(), "a whole number"
			}
		}
	case *ast.StringNode:
		// What has only digits and is a text to the parser is beyond 64 bits.
		if n.GetToken().Type == token.StringType && decimalText.MatchString(n.Value) {
			f.token, f.want = n.GetToken(), "a whole number in range"
		}
	case *ast.IntegerNode:
		text := n.GetToken().Value
		_, signed := strconv.ParseInt(text, 10, 64)
		_, unsigned := strconv.ParseUint(text, 10, 64)
		switch {
		case !decimalText.MatchString(text):
			f.token, f.want = n.GetToken(), "a decimal number without leading zeros, signs or underscores"
		case signed != nil && unsigned != nil:
			f.token, f.want = n.GetToken(), "a whole number in range"
		}
	}
	return f
}

// decode reads node into the value at out, keeping what out already holds for keys that node does
// not have.
func decode(path string, node ast.Node, out any) error {
	decoder := yaml.NewDecoder(bytes.NewReader(nil), yaml.Strict())
	if err := decoder.DecodeFromNode(node, out); err != nil {
		return located(path, err)
	}
	return nil
}

// resolve lays every case over the file's own settings, and the values of a sweep over every case.
func resolve(path string, root ast.Node, content fileText, s *Scenario) error {
	if len(content.Cases) > maxCases {
		return &Error{Path: path, Message: fmt.Sprintf("more than %d cases", maxCases)}
	}
	if len(content.Cases) == 0 {
		s.Cases = []Case{{Settings: content.Settings}}
	}
	for i, c := range content.Cases {
		node := find(root, fmt.Sprintf("cases[%d]", i))
		merged := caseText{Settings: content.Settings}
		// The decoder may append to a slice that it finds; a case's phases replace the file's.
		merged.Settings.Load.Phases, merged.Settings.Readers = nil, nil
		if err := decode(path, node, &merged); err != nil {
			return err
		}
		if merged.Settings.Load.Phases == nil {
			merged.Settings.Load.Phases = slices.Clone(content.Settings.Load.Phases)
		}
		if merged.Settings.Readers == nil {
			merged.Settings.Readers = slices.Clone(content.Settings.Readers)
		}
		s.Cases = append(s.Cases, Case{Name: c.Name, Settings: merged.Settings, place: fmt.Sprintf("cases[%d].", i)})
	}
	if err := content.Sweep.expand(path, root, s); err != nil {
		return err
	}
	for i := range s.Cases {
		s.Cases[i].Settings.setDefaults()
	}
	return nil
}

func (s *Settings) setDefaults() {
	setDefault := func(value *string, text string) {
		if *value == "" {
			*value = text
		}
	}
	if s.Cluster.Nodes > 0 {
		setDefault(&s.Aggregator.Ack, "replicated")
	}
	setDefault(&s.Aggregator.Ack, "journal")
	setDefault(&s.Load.Encoding, "json")
	setDefault(&s.Load.Compression, "none")
	setDefault(&s.Load.Client, Vegeta)
	for i := range s.Readers {
		if r := &s.Readers[i]; r.Kind != ReadStream && r.Limit == 0 {
			r.Limit = defaultPage
		}
	}
	setDefault(&s.Yardstick, NoYardstick)
	setDefault(&s.Fault.Kind, NoFault)
	setDefault(&s.Expect.Lost.text, "0")
	setDefault(&s.Expect.Duplicated.text, "0")
	setDefault(&s.Expect.Unexpected.text, "0")
	setDefault(&s.Expect.Unacknowledged.text, "0")
	// Whoever repeats what was refused or not answered has still been refused, or not answered.
	attempts := "0"
	if s.Fault.Kind != NoFault {
		attempts = "any"
	}
	setDefault(&s.Expect.Refused.text, attempts)
	setDefault(&s.Expect.Failures.text, attempts)
	setDefault(&s.Expect.DeduplicationRate, "exact")
}

// find returns the node at a path such as "load.phases[0].rate", or nil.
func find(root ast.Node, path string) ast.Node {
	p, err := yaml.PathString("$." + path)
	if err != nil {
		return nil
	}
	node, err := p.FilterNode(root)
	if err != nil {
		return nil
	}
	return node
}

// located turns an error of the YAML library into one with the file's name, line and column.
func located(path string, err error) error {
	var typeError *yaml.TypeError
	if errors.As(err, &typeError) {
		return at(path, typeError.Token, fmt.Sprintf("%q is not %s", typeError.Token.Value, kindName(typeError.DstType.Kind())))
	}
	var overflow *yaml.OverflowError
	if errors.As(err, &overflow) {
		return at(path, overflow.Token, fmt.Sprintf("%q is not %s", overflow.SrcNum, kindName(overflow.DstType.Kind())))
	}
	var yamlError yaml.Error
	if errors.As(err, &yamlError) {
		return at(path, yamlError.GetToken(), yamlError.GetMessage())
	}
	return &Error{Path: path, Message: err.Error()}
}

// start is where a node begins; a mapping's own token is the colon behind its first name.
func start(node ast.Node) *token.Token {
	switch n := node.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return start(n.Values[0])
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	}
	return node.GetToken()
}

func at(path string, t *token.Token, message string) *Error {
	e := &Error{Path: path, Message: message}
	if t != nil && t.Position != nil {
		e.Line, e.Column = t.Position.Line, t.Position.Column
	}
	return e
}
