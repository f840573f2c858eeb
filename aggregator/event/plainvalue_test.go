package event

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"
)

// again is a value as encoding/json writes it once it has read it.
func again(value []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(out.Bytes()), err
}

// pieces are what JSON is made of, and some things more.
var pieces = rapid.SampledFrom([]string{"{", "}", "[", "]", ":", ",", " ", "\n", `"a"`, `"b"`, `"a b"`, `"a!"`, `"é"`, `""`, `"\n\t\r\b\f\"\\"`, `"\/"`, `"\u0061"`, `"\ud800"`, "\"\u2028\"",
	"\"\x7f\"", "\"\xff\"", "0", "-0", "1E+3", "01", "1.", "true", "false", "null", "nul"})

// values are texts that are JSON more often than not.
func values() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string { return drawValue(t, 3) })
}

func drawValue(t *rapid.T, depth int) string {
	kinds := []string{"piece", "text", "number"}
	if depth > 0 {
		kinds = append(kinds, "object", "object", "array")
	}
	space := rapid.SampledFrom([]string{"", "", "", " ", "\r\n\t"})
	var all []string
	switch rapid.SampledFrom(kinds).Draw(t, "kind") {
	case "piece":
		return pieces.Draw(t, "piece")
	case "text":
		quoted, _ := json.Marshal(rapid.String().Draw(t, "text"))
		return string(quoted)
	case "number":
		return rapid.StringMatching(`-?(0|[1-9][0-9]{0,3})(\.[0-9]{1,3})?([eE][-+]?[0-9]{1,2})?`).Draw(t, "number")
	case "array":
		for range rapid.IntRange(0, 3).Draw(t, "elements") {
			all = append(all, space.Draw(t, "space")+drawValue(t, depth-1)+space.Draw(t, "space"))
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	for range rapid.IntRange(0, 4).Draw(t, "members") {
		name := rapid.SampledFrom([]string{`"a"`, `"b"`, `"c"`, `"a b"`, `"a!"`, `"é"`, `""`, `"\u0061"`, `"a\n"`}).Draw(t, "name")
		all = append(all, space.Draw(t, "space")+name+space.Draw(t, "space")+":"+drawValue(t, depth-1))
	}
	return "{" + strings.Join(all, ",") + "}"
}

// TestSorter: what a Sorter writes is what encoding/json writes, and has no name twice; and it
// knows what programs write as a rule.
func TestSorter(t *testing.T) {
	var s Sorter
	for value, want := range map[string]string{
		`{"b":1,"a":{"y":[1, {"d":0,"c":""}],"x":null}}`: `{"a":{"x":null,"y":[1,{"c":"","d":0}]},"b":1}`,
		` { "msg" : "say \"é\"\n" } `:                    `{"msg":"say \"é\"\n"}`,
		`{"a!":1,"a":2,"a b":3}`:                         `{"a":2,"a b":3,"a!":1}`,
		`[]`:                                             `[]`,
	} {
		if got, ok := s.Sort([]byte(value)); !ok || string(got) != want {
			t.Errorf("%s: %s, %v, want %s", value, got, ok, want)
		}
	}
	for _, value := range []string{`{"a":1,"a":2}`, `{"a":1,"b":2,"a":3}`, `{"b":1,"a":1,"b":1}`, `{"\u0061":1}`, `"\/"`, "\"\u2028\"", `{"a":01}`, `1x`, `{"a":1}}`, `[1,]`, `{"a":1,}`, ``} {
		if got, ok := s.Sort([]byte(value)); ok {
			t.Errorf("%s is sorted: %s", value, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		value := []byte(values().Draw(t, "value"))
		got, ok := s.Sort(value)
		if !ok {
			return
		}
		want, err := again(value)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%q is sorted to %q, encoding/json has %q, %v", value, got, want, err)
		}
		if !jsontext.Value(value).IsValid() {
			t.Fatalf("%q is sorted, and is no JSON or has a name twice", value)
		}
	})
}

// plainMembers lists an object by a Plain: names, and values as they stand.
func plainMembers(text []byte) (all []string, ok bool) {
	p := NewPlain(text)
	ok = p.Members(func(name []byte) bool {
		value, ok := p.Value()
		all = append(all, string(name), string(value))
		return ok
	})
	return all, ok && p.End()
}

func plainElements(text []byte) (all []string, ok bool) {
	p := NewPlain(text)
	ok = p.Elements(func() bool {
		value, ok := p.Value()
		all = append(all, string(value))
		return ok
	})
	return all, ok && p.End()
}

// FuzzPlainValue: what a Plain reads, jsontext reads too; and what may be a payload is what it
// takes.
func FuzzPlainValue(f *testing.F) {
	for _, seed := range []string{` {"a":1,"b":[true,{"c":"é"}],"a":null} `, `{}`, `[]`, `[1, "\u00e9\n"]`, `{"\u0061":1}`, `{"a":01}`, `"\ud800"`, `{"a":1}{"b":2}`, "{\"a\":\"\xff\"}", `{"a":1,}`, `[1}`} {
		f.Add([]byte(seed))
	}
	var s Sorter
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, ok := plainMembers(text); ok {
			if want := listed(t, text, true); !slices.Equal(got, want) {
				t.Fatalf("%q has the members %q, jsontext has %q", text, got, want)
			}
		}
		if got, ok := plainElements(text); ok {
			if want := listed(t, text, false); !slices.Equal(got, want) {
				t.Fatalf("%q has the elements %q, jsontext has %q", text, got, want)
			}
		}
		p := NewPlain(text)
		if got, ok := p.Text(); ok && p.End() {
			if want, err := jsontext.AppendUnquote(nil, bytes.Trim(text, " \t\r\n")); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%q is %q, jsontext has %q, %v", text, got, want, err)
			}
		}
		if IsPayload(text) != jsontext.Value(text).IsValid(strict) {
			t.Fatalf("%q may be a payload: %v", text, IsPayload(text))
		}
		if got, ok := s.Sort(text); ok {
			if want, err := again(text); err != nil || !bytes.Equal(got, want) || !jsontext.Value(text).IsValid() {
				t.Fatalf("%q is sorted to %q, encoding/json has %q, %v", text, got, want, err)
			}
		}
	})
}

// listed are the members, or the elements, of a value, by jsontext.
func listed(t *testing.T, text []byte, names bool) (all []string) {
	d := jsontext.NewDecoder(bytes.NewBuffer(bytes.Clone(text)), strict)
	if _, err := d.ReadToken(); err != nil {
		t.Fatal(err)
	}
	for d.PeekKind() != '}' && d.PeekKind() != ']' {
		if names {
			name, err := d.ReadToken()
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, name.String())
		}
		value, err := d.ReadValue()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(value))
	}
	return all
}

// TestIsText: it is what its comment says.
func TestIsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.SampledFrom([]byte("ab\"\\~\x1f\x00\x7f\xc2\x85\xa0\xc3\xa9\xff")), 0, 40).Draw(t, "text")
		if rapid.IntRange(0, 9).Draw(t, "long") == 0 {
			text = bytes.Repeat([]byte("x"), rapid.IntRange(250, 260).Draw(t, "length"))
		}
		want := len(text) <= MaxTextBytes && utf8.Valid(text) && !bytes.ContainsFunc(text, unicode.IsControl)
		if IsText(text) != want {
			t.Fatalf("%q is text: %v", text, !want)
		}
	})
}
