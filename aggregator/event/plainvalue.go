package event

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Plain reads JSON as programs write it as a rule: with names that have no escapes, and not nested
// too deep. It knows no errors: what it does not read may be JSON all the same, for a decoder to
// say.
type Plain struct{ plain }

// NewPlain returns a Plain at the beginning of text.
func NewPlain(text []byte) Plain { return Plain{plain{body: text}} }

// End reports that only white space is left.
func (p *Plain) End() bool { return p.end() }

// Offset is how far it is in the text.
func (p *Plain) Offset() int { return p.at }

// Value reads any value and returns it as it stands in the text.
func (p *Plain) Value() ([]byte, bool) {
	p.space()
	from := p.at
	ok := p.value()
	return p.body[from:p.at], ok
}

// Text reads a string and returns what it means.
func (p *Plain) Text() ([]byte, bool) {
	if p.space() != '"' {
		return nil, false
	}
	from := p.at
	if !p.quoted() {
		return nil, false
	}
	quoted := p.body[from:p.at]
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner, true
	}
	text, err := jsontext.AppendUnquote(nil, quoted)
	return text, err == nil
}

// Members reads an object. It calls do for each name; do reads the value, and says whether it did.
func (p *Plain) Members(do func(name []byte) bool) bool {
	if !p.take('{') {
		return false
	}
	if p.take('}') {
		return true
	}
	for {
		name, ok := p.text()
		if !ok || !p.take(':') || !do(name) {
			return false
		}
		if !p.take(',') {
			return p.take('}')
		}
	}
}

// Elements reads an array. It calls do for each element, which do reads.
func (p *Plain) Elements(do func() bool) bool {
	if !p.take('[') {
		return false
	}
	if p.take(']') {
		return true
	}
	for {
		if !do() {
			return false
		}
		if !p.take(',') {
			return p.take(']')
		}
	}
}

// A Sorter writes JSON values as encoding/json writes them again once it has read them: without
// white space, the names of each object in order, numbers as they are. It reuses its memory.
type Sorter struct {
	in      plain
	out     []byte
	members []sortedMember // of the objects that are open
	moved   []byte
}

// sortedMember is a member that is written: its name and a place in the Sorter's out.
type sortedMember struct {
	name     []byte
	from, to int
}

// Sort returns the value written anew, until the next call. It reports false for what plain does
// not know, for a name that is given twice or has an escape, and for a string that encoding/json
// would write in another way.
func (s *Sorter) Sort(value []byte) ([]byte, bool) {
	s.in, s.out, s.members = plain{body: value}, s.out[:0], s.members[:0]
	ok := s.value(0) && s.in.end()
	s.in.body = nil
	return s.out, ok
}

func (s *Sorter) value(depth int) (ok bool) {
	p := &s.in
	c := p.space()
	from := p.at
	switch c {
	case '{', '[':
		if depth == plainDepth {
			return false
		}
		p.at++
		if c == '{' {
			return s.object(depth + 1)
		}
		return s.array(depth + 1)
	case '"':
		ok = p.quoted() && writtenSo(p.body[from:p.at])
	case 't':
		ok = p.literal("true")
	case 'f':
		ok = p.literal("false")
	case 'n':
		ok = p.literal("null")
	default:
		ok = p.number()
	}
	s.out = append(s.out, p.body[from:p.at]...)
	return ok
}

// array reads an array whose '[' is read.
func (s *Sorter) array(depth int) bool {
	s.out = append(s.out, '[')
	for empty := s.in.take(']'); !empty; s.out = append(s.out, ',') {
		if !s.value(depth) {
			return false
		}
		if !s.in.take(',') {
			if !s.in.take(']') {
				return false
			}
			break
		}
	}
	s.out = append(s.out, ']')
	return true
}

// object reads an object whose '{' is read.
func (s *Sorter) object(depth int) bool {
	p, first, start, inOrder := &s.in, len(s.members), len(s.out), true
	s.out = append(s.out, '{')
	for empty := p.take('}'); !empty; s.out = append(s.out, ',') {
		p.space()
		from, at := p.at, len(s.out)
		if from == len(p.body) || p.body[from] != '"' || !p.quoted() {
			return false
		}
		quoted := p.body[from:p.at]
		name := quoted[1 : len(quoted)-1]
		if bytes.IndexByte(name, '\\') >= 0 || !writtenSo(quoted) || !p.take(':') {
			return false
		}
		s.out = append(append(s.out, quoted...), ':')
		if !s.value(depth) {
			return false
		}
		if n := len(s.members); n > first && bytes.Compare(s.members[n-1].name, name) >= 0 {
			inOrder = false
		}
		s.members = append(s.members, sortedMember{name, at, len(s.out)})
		if !p.take(',') {
			if !p.take('}') {
				return false
			}
			break
		}
	}
	mine := s.members[first:]
	s.members = s.members[:first]
	if !inOrder && !s.order(mine, start) {
		return false
	}
	s.out = append(s.out, '}')
	return true
}

// order puts the members of the object that begins at start into the order of their names. It
// reports false if two have the same.
func (s *Sorter) order(members []sortedMember, start int) bool {
	slices.SortFunc(members, func(a, b sortedMember) int { return bytes.Compare(a.name, b.name) })
	s.moved = append(s.moved[:0], s.out[start:]...)
	s.out = s.out[:start+len("{")]
	for i, m := range members {
		if i > 0 {
			if bytes.Equal(members[i-1].name, m.name) {
				return false
			}
			s.out = append(s.out, ',')
		}
		s.out = append(s.out, s.moved[m.from-start:m.to-start]...)
	}
	return true
}

// writtenSo reports whether encoding/json writes a string as it stands here, quotes included; it
// is one that plain knows.
func writtenSo(quoted []byte) bool {
	end := len(quoted) - 1
	for i := special(quoted, 1); i < end; i = special(quoted, i) {
		switch c := quoted[i]; {
		case c == '\\':
			if bytes.IndexByte([]byte(`"\nrtbf`), quoted[i+1]) < 0 {
				return false
			}
			i += 2
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(quoted[i:])
			if r == '\u2028' || r == '\u2029' {
				return false
			}
			i += size
		default: // DEL
			i++
		}
	}
	return true
}
