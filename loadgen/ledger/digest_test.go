package ledger

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// A digest gives back what was added, but for times, and for the order of a request's attempts.
func TestDigest(t *testing.T) {
	kinds := []Kind{{Status: 202, Accepted: 20}, {Phase: 1, Status: 200, Accepted: 20, Duplicates: 4}, {Status: 503, Cause: "queue_full"}, {Cause: CauseEOF}}
	random := rand.New(rand.NewPCG(1, 2))
	type said struct {
		request uint64
		kind    Kind
	}
	var want []said
	digester := NewDigester()
	for range 5000 {
		s := said{random.Uint64N(1000), kinds[random.IntN(len(kinds))]}
		want = append(want, s)
		digester.Add(Attempt{Request: s.request, Attempt: 1, Phase: s.kind.Phase, Status: s.kind.Status, Cause: s.kind.Cause,
			Accepted: s.kind.Accepted, Duplicates: s.kind.Duplicates, SentNS: 5})
	}
	digester.Add(Attempt{Request: 1009}) // planned, never sent
	digest := digester.Digest()
	var got []said
	for a, err := range digest.Attempts() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, said{a.Request, Kind{a.Phase, a.Status, a.Cause, a.Accepted, a.Rejected, a.Duplicates}})
	}
	for _, all := range [][]said{want, got} {
		slices.SortFunc(all, func(a, b said) int {
			return cmp.Or(cmp.Compare(a.request, b.request), cmp.Compare(a.kind.Status, b.kind.Status), cmp.Compare(a.kind.Cause, b.kind.Cause))
		})
	}
	if !slices.Equal(got, want) || digest.Requests() != 1010 {
		t.Errorf("%d attempts at %d requests, want the %d that were added, at 1010", len(got), digest.Requests(), len(want))
	}
}

func TestDigestThatContradictsItself(t *testing.T) {
	whole := func() Digest {
		return Digest{Kinds: []Kind{{Status: 202, Accepted: 20}}, Fates: [][][2]uint64{{{0, 1}}}, Rows: [][2]uint64{{7, 0}}}
	}
	for name, spoil := range map[string]func(*Digest){
		"no such fate":      func(d *Digest) { d.Rows[0][1] = 1 },
		"no such kind":      func(d *Digest) { d.Fates[0][0][0] = 1 },
		"too many requests": func(d *Digest) { d.Rows[0][0] = 1 << 63 },
		"too many attempts": func(d *Digest) { d.Fates[0][0][1] = 1 << 63 },
	} {
		d := whole()
		spoil(&d)
		last := error(nil)
		for _, err := range d.Attempts() {
			last = err
		}
		if last == nil || !strings.HasPrefix(last.Error(), "ledger: digest: ") {
			t.Errorf("%s: %v", name, last)
		}
	}
}
