package ledger

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
)

const (
	// maxDigestRequests bounds what a digest may speak of: the most that one phase of an attack sends.
	maxDigestRequests = 500_000_000
	// maxDigestAttempts bounds the attempts of one kind at one request.
	maxDigestAttempts = 1_000_000
)

// Digest is a ledger without its times: what the attempts at each request came
// to, in the order of the requests' numbers, equal neighbours as one row. An
// audit asks for no more, and a million attempts take some kilobytes.
type Digest struct {
	Kinds []Kind        `json:"kinds"`
	Fates [][][2]uint64 `json:"fates"` // of a request: pairs of a kind and how many attempts were of it
	Rows  [][2]uint64   `json:"rows"`  // pairs of a number of requests and their fate
}

// Kind is what an attempt came to.
type Kind struct {
	Phase      int    `json:"phase"`
	Status     int    `json:"status"`
	Cause      string `json:"cause,omitempty"`
	Accepted   int    `json:"accepted,omitempty"`
	Rejected   int    `json:"rejected,omitempty"`
	Duplicates int    `json:"duplicates,omitempty"`
}

// Requests is how many requests the digest speaks of.
func (d Digest) Requests() uint64 {
	var n uint64
	for _, row := range d.Rows {
		n += row[0]
	}
	return n
}

// Attempts yields every attempt, request by request, without its times. A
// digest that contradicts itself ends it with an error.
func (d Digest) Attempts() iter.Seq2[Attempt, error] {
	return func(yield func(Attempt, error) bool) {
		if err := d.check(); err != nil {
			yield(Attempt{}, err)
			return
		}
		request := uint64(0)
		for _, row := range d.Rows {
			for ; row[0] > 0; row[0]-- {
				n := 0
				for _, pair := range d.Fates[row[1]] {
					k := d.Kinds[pair[0]]
					for range pair[1] {
						n++
						a := Attempt{Request: request, Attempt: n, Phase: k.Phase, Status: k.Status, Cause: k.Cause,
							Accepted: k.Accepted, Rejected: k.Rejected, Duplicates: k.Duplicates}
						if !yield(a, nil) {
							return
						}
					}
				}
				request++
			}
		}
	}
}

func (d Digest) check() error {
	left := uint64(maxDigestRequests)
	for i, row := range d.Rows {
		if row[1] >= uint64(len(d.Fates)) || row[0] > left {
			return fmt.Errorf("ledger: digest: row %d is %v of %d fates", i, row, len(d.Fates))
		}
		left -= row[0]
	}
	for i, fate := range d.Fates {
		for _, pair := range fate {
			if pair[0] >= uint64(len(d.Kinds)) || pair[1] > maxDigestAttempts {
				return fmt.Errorf("ledger: digest: fate %d has %v of %d kinds", i, pair, len(d.Kinds))
			}
		}
	}
	return nil
}

// Digester makes a digest from attempts in any order. It is for one goroutine.
type Digester struct {
	kinds    []Kind
	kindOf   map[Kind]uint64
	fates    []map[uint64]uint64 // by number: attempts by kind
	fateOf   map[string]uint32   // by what it says
	next     map[step]uint32
	requests []uint32 // the fate of each so far
}

// step leads from a request's fate to the one with an attempt more.
type step struct {
	fate uint32
	kind uint64
}

// NewDigester returns one that has seen nothing.
func NewDigester() *Digester {
	return &Digester{kindOf: map[Kind]uint64{}, fates: []map[uint64]uint64{{}}, fateOf: map[string]uint32{"": 0}, next: map[step]uint32{}}
}

// Add takes an attempt; one that was planned and never sent makes its request known.
func (d *Digester) Add(a Attempt) {
	for uint64(len(d.requests)) <= a.Request {
		d.requests = append(d.requests, 0)
	}
	if a.Attempt == 0 {
		return
	}
	k := Kind{a.Phase, a.Status, a.Cause, a.Accepted, a.Rejected, a.Duplicates}
	kind, known := d.kindOf[k]
	if !known {
		kind = uint64(len(d.kinds))
		d.kinds, d.kindOf[k] = append(d.kinds, k), kind
	}
	s := step{d.requests[a.Request], kind}
	to, known := d.next[s]
	if !known {
		to = d.fate(s)
		d.next[s] = to
	}
	d.requests[a.Request] = to
}

// fate finds or makes the fate that a step leads to.
func (d *Digester) fate(s step) uint32 {
	counts := maps.Clone(d.fates[s.fate])
	counts[s.kind]++
	name := []byte{}
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		name = strconv.AppendUint(append(strconv.AppendUint(name, kind, 10), ':'), counts[kind], 10)
		name = append(name, ' ')
	}
	to, known := d.fateOf[string(name)]
	if !known {
		to = uint32(len(d.fates))
		d.fates, d.fateOf[string(name)] = append(d.fates, counts), to
	}
	return to
}

// Digest is what was added so far.
func (d *Digester) Digest() Digest {
	digest := Digest{Kinds: append([]Kind{}, d.kinds...), Fates: [][][2]uint64{}, Rows: [][2]uint64{}}
	numbers := map[uint32]uint64{} // of the fates that a request ended with
	for i, fate := range d.requests {
		number, known := numbers[fate]
		if !known {
			number = uint64(len(digest.Fates))
			numbers[fate] = number
			pairs := [][2]uint64{}
			for _, kind := range slices.Sorted(maps.Keys(d.fates[fate])) {
				pairs = append(pairs, [2]uint64{kind, d.fates[fate][kind]})
			}
			digest.Fates = append(digest.Fates, pairs)
		}
		if i > 0 && d.requests[i-1] == fate {
			digest.Rows[len(digest.Rows)-1][0]++
		} else {
			digest.Rows = append(digest.Rows, [2]uint64{1, number})
		}
	}
	return digest
}
