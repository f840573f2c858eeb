package ingest

import (
	"fmt"

	"sekali/aggregator/event"
)

// MaxContainers bounds the objects and arrays of a JSON body that is decoded whole: three bytes of
// it may take 200 once decoded. OTLP's smallest attribute has two of them in 34 bytes, so a body of
// 16 MiB that says something stays below.
const MaxContainers = 1_000_000

// MaxValues bounds all values likewise. One that is no object and no array takes about 40 bytes.
const MaxValues = 4 * MaxContainers

// containerBytes is what an object may take once decoded: a record of OTLP's takes the most.
const containerBytes = 200

// size is what a JSON text consists of, as told by its punctuation. Of a text that is no JSON it
// says nothing, and no decoder makes anything of one.
type size struct {
	containers int // objects and arrays
	values     int // at most so many values, names not counted
	elements   int // at most so many elements of the outermost array or object
}

func measure(text []byte) (s size) {
	depth, commas := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			s.containers++
			depth++
		case '}', ']':
			depth--
		case ',':
			commas++
			if depth == 1 {
				s.elements++
			}
		}
	}
	s.elements++
	s.values = 2*s.containers + commas + 1
	return s
}

// smallBytes is the length of a value that is looked into without asking.
const smallBytes = 16 << 10

// look asks for the room that a value takes once decoded, as it is for its hash. The next value
// takes the same.
func (b *builder) look(value []byte) error {
	if len(value) <= smallBytes {
		return nil
	}
	n := min(measure(value).values, MaxValues/4) // beyond that many none is decoded
	if more := containerBytes*n - 4*len(value); more > b.looked {
		b.beside += more - b.looked
		b.looked = more
	}
	return b.room(0)
}

// fits asks for the room that the body takes once decoded, before it is.
func (in *Input) fits() error {
	s := measure(in.Body)
	if s.containers > MaxContainers || s.values > MaxValues {
		return fmt.Errorf("%w: %d objects and arrays, %d values in one request; %d and %d are the most",
			event.ErrTooLarge, s.containers, s.values, MaxContainers, MaxValues)
	}
	if more := containerBytes*s.containers - 4*len(in.Body); more > 0 && in.Grow != nil {
		return in.Grow(more)
	}
	return nil
}
