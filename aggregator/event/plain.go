package event

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// plain reads what publishers send as a rule, in one pass and without copying: events in which
// every field is in order, whose own texts have no escapes. It knows no errors: whatever else it
// meets, and be it right, is left to the decoder, which reads the body again from its beginning. So
// plain may only ever accept what the decoder accepts, to the same bytes; FuzzPlain holds it to
// that.
type plain struct {
	body []byte
	at   int
}

// plainDepth is how deep the arrays and objects of a payload may be nested: a bit each.
const plainDepth = 64

// request reads a body that is one event, an array of them, or {"events":[…]}, and reports whether
// it could.
func (p *plain) request(r *Request) bool {
	const list = `"events"`
	switch p.space() {
	case '[':
		return p.array(r) && p.end()
	case '{':
		p.at++
		if p.space() == '"' && bytes.HasPrefix(p.body[p.at:], []byte(list)) {
			p.at += len(list)
			return p.take(':') && p.array(r) && p.take('}') && p.end()
		}
		p.at = 0
		return p.event(r) && p.end()
	}
	return false
}

func (p *plain) array(r *Request) bool {
	if !p.take('[') {
		return false
	}
	for {
		if !p.event(r) {
			return false
		}
		if !p.take(',') {
			return p.take(']')
		}
	}
}

// event reads an event and appends it to r, as its last step.
func (p *plain) event(r *Request) bool {
	if r.Total() == MaxEventsPerRequest || !p.take('{') {
		return false
	}
	var fields [fieldCount][]byte
	var seen uint
	for {
		field := p.field()
		if field < 0 || seen>>field&1 == 1 || !p.take(':') {
			return false
		}
		seen |= 1 << field
		var ok bool
		if field == payloadField {
			p.space()
			from := p.at
			if !p.value() {
				return false
			}
			fields[field] = p.body[from:p.at]
		} else if fields[field], ok = p.text(); !ok || !plainText(field, fields[field]) {
			return false
		}
		if p.take(',') {
			continue
		}
		const required = 1<<topicField | 1<<idField | 1<<timestampField
		if !p.take('}') || seen&required != required {
			return false
		}
		r.Data = appendEvent(r.Data, &fields)
		r.Events++
		return true
	}
}

// field reads the name of a field; -1 for any other.
func (p *plain) field() int {
	if p.space() == '"' {
		rest := p.body[p.at+1:]
		for i, name := range fieldNames {
			if len(rest) > len(name) && string(rest[:len(name)]) == name && rest[len(name)] == '"' {
				p.at += len(name) + 2
				return i
			}
		}
	}
	return -1
}

func plainText(field int, text []byte) bool {
	if field == timestampField {
		return plainTimestamp(text) || checkTimestamp(text) == ""
	}
	return len(text) <= MaxTextBytes && (len(text) > 0 || field == sourceField)
}

// plainTimestamp knows the usual times by their digits: in UTC, to a whole second or with up to
// nine digits behind the point, and on one of the days that every month has.
func plainTimestamp(text []byte) bool {
	const form = "0000-00-00T00:00:00"
	if len(text) <= len(form) || text[len(text)-1] != 'Z' {
		return false
	}
	for i := range len(form) {
		if digit := text[i]-'0' <= 9; digit != (form[i] == '0') || !digit && text[i] != form[i] {
			return false
		}
	}
	if fraction := text[len(form) : len(text)-1]; len(fraction) > 0 {
		if len(fraction) < 2 || len(fraction) > 10 || fraction[0] != '.' {
			return false
		}
		for _, c := range fraction[1:] {
			if c-'0' > 9 {
				return false
			}
		}
	}
	two := func(at int) int { return int(text[at]-'0')*10 + int(text[at+1]-'0') }
	month, day := two(5), two(8)
	return two(0)+two(2) > 0 && month >= 1 && month <= 12 && day >= 1 && day <= 28 && two(11) < 24 && two(14) < 60 && two(17) < 60
}

// space moves to the next token and returns its first byte; 0 at the end.
func (p *plain) space() byte {
	for ; p.at < len(p.body); p.at++ {
		switch c := p.body[p.at]; c {
		case ' ', '\n', '\t', '\r':
		default:
			return c
		}
	}
	return 0
}

// take reads one byte, if it comes next.
func (p *plain) take(c byte) bool {
	if p.at < len(p.body) && p.body[p.at] == c || p.space() == c {
		p.at++
		return true
	}
	return false
}

// end reports that only white space is left.
func (p *plain) end() bool {
	p.space()
	return p.at == len(p.body)
}

// text reads a string without escapes and control characters, and returns what is between its
// quotes.
func (p *plain) text() ([]byte, bool) {
	if p.space() != '"' {
		return nil, false
	}
	from := p.at + 1
	end, ascii := special(p.body, from), true
	for end < len(p.body) && p.body[end] >= utf8.RuneSelf {
		c, size := utf8.DecodeRune(p.body[end:])
		if c == utf8.RuneError && size == 1 {
			return nil, false
		}
		end, ascii = special(p.body, end+size), false
	}
	if end == len(p.body) || p.body[end] != '"' || !ascii && hasControl(p.body[from:end]) {
		return nil, false
	}
	p.at = end + 1
	return p.body[from:end], true
}

// value reads any JSON value that is not nested too deep.
func (p *plain) value() bool {
	var objects uint64 // a bit for each array or object that is open, the innermost the lowest: 1 is an object
	for depth := 0; ; {
		switch p.space() {
		case '"':
			if !p.quoted() {
				return false
			}
		case '{', '[':
			object := p.body[p.at] == '{'
			p.at++
			if object && p.take('}') || !object && p.take(']') {
				break
			}
			if depth == plainDepth {
				return false
			}
			depth++
			objects <<= 1
			if object {
				objects |= 1
				if !p.name() {
					return false
				}
			}
			continue
		case 't':
			if !p.literal("true") {
				return false
			}
		case 'f':
			if !p.literal("false") {
				return false
			}
		case 'n':
			if !p.literal("null") {
				return false
			}
		default:
			if !p.number() {
				return false
			}
		}
		for ; depth > 0; depth-- {
			object := objects&1 == 1
			if p.take(',') {
				if object && !p.name() {
					return false
				}
				break
			}
			if object && !p.take('}') || !object && !p.take(']') {
				return false
			}
			objects >>= 1
		}
		if depth == 0 {
			return true
		}
	}
}

// name reads the name of an object's member, and the colon behind it.
func (p *plain) name() bool { return p.space() == '"' && p.quoted() && p.take(':') }

func (p *plain) literal(text string) bool {
	if !bytes.HasPrefix(p.body[p.at:], []byte(text)) {
		return false
	}
	p.at += len(text)
	return true
}

// number reads a number. What may not stand behind it is found by who reads on.
func (p *plain) number() bool {
	p.next('-')
	if !p.next('0') && !p.digits() {
		return false
	}
	if p.next('.') && !p.digits() {
		return false
	}
	if p.next('e') || p.next('E') {
		if !p.next('+') {
			p.next('-')
		}
		return p.digits()
	}
	return true
}

// next reads one byte if it is the very next.
func (p *plain) next(c byte) bool {
	if p.at < len(p.body) && p.body[p.at] == c {
		p.at++
		return true
	}
	return false
}

// digits reads at least one.
func (p *plain) digits() bool {
	from := p.at
	for p.at < len(p.body) && p.body[p.at]-'0' <= 9 {
		p.at++
	}
	return p.at > from
}

// quoted reads a string, escapes included, but for halves of surrogate pairs.
func (p *plain) quoted() bool {
	b := p.body
	for i := special(b, p.at+1); i < len(b); i = special(b, i) {
		switch c := b[i]; {
		case c == '"':
			p.at = i + 1
			return true
		case c == '\\':
			size := escape(b[i:])
			if size == 0 {
				return false
			}
			i += size
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && size == 1 {
				return false
			}
			i += size
		case c == del:
			i++
		default:
			return false
		}
	}
	return false
}

// escape returns the length of the escape that b begins with, 0 if it is none or half of a
// surrogate pair.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		const size = len(`\u0000`)
		if len(b) < size || (b[2] == 'd' || b[2] == 'D') && b[3] >= '8' {
			return 0
		}
		for _, c := range b[2:size] {
			if c-'0' > 9 && c|0x20-'a' > 5 {
				return 0
			}
		}
		return size
	}
	return 0
}

const del = 0x7f

// special returns the place of the first byte from i on that is not a usual character of a string:
// its end, an escape, a control character, or one beyond ASCII; len(b) if there is none. It looks
// at eight bytes at a time. The lowest byte that a mask marks is the first: a subtraction borrows
// only from those above it.
func special(b []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		quote, backslash, delete := x^ones*'"', x^ones*'\\', x^ones*del
		mask := (x | (x-ones*0x20)&^x | (quote-ones)&^quote | (backslash-ones)&^backslash | (delete-ones)&^delete) & highs
		if mask != 0 {
			return i + bits.TrailingZeros64(mask)>>3
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < 0x20 || c >= del || c == '"' || c == '\\' {
			break
		}
	}
	return i
}
