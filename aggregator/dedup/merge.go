package dedup

import (
	"container/heap"
	"time"
)

// merge makes one run of several neighbours, a slice at a time. Their keys are all different.
type merge struct {
	inputs  []*run
	cursors cursors
	out     *builder

	paced bool
	slice int64     // how many entries a step moves
	from  int64     // how many keys the index had taken over when it began
	last  time.Time // the end of its last step
}

const (
	// mergeSlice is how many entries a merge moves before the worker looks whether something smaller
	// waits: about 3 ms.
	mergeSlice = 50_000
	// mergeCredit is how many entries a merge may move for each new key while the writer works, so
	// that the writer hardly feels it. It adds up: a worker that has fallen behind goes on without a
	// pause. And it is enough: a merge of M entries moves these and M/4 words of index at most, and
	// has to have credit for M/8 more, a slice. So it ends (1 + 1/4 + 1/8) / 2 = 0.69 M new keys after
	// the last of its inputs came. M is at most 9.6 of the least runs of its level, for a table has up
	// to a fifth more keys than planned, the rest of a batch; so meanwhile come seven or eight of
	// them, and at no time are there more than 16 of a level. Level 0 has no such bound and is merged
	// at full speed, 2 million keys: to spread so little is worth less than the runs that all new keys
	// are looked for in meanwhile.
	mergeCredit = 2
	// mergeIdle is for how long no batch has come when merges go on at full speed.
	mergeIdle = 100 * time.Millisecond
	// mergeLeast is how long a merge waits for credit at most: where few keys come it moves 200 000
	// entries a second, 8 MB, and a restart, which begins it anew, seldom meets one.
	mergeLeast = 250 * time.Millisecond
)

func newMerge(dir, file string, inputs []*run) (*merge, error) {
	var keys int64
	blocks := 0
	for _, r := range inputs {
		keys, blocks = keys+r.Keys, blocks+len(r.sparse)
	}
	named := Run{File: file, First: inputs[0].First, Last: inputs[len(inputs)-1].Last}
	out, err := newBuilder(dir, named, keys)
	if err != nil {
		return nil, err
	}
	out.sparse = make([]uint64, 0, blocks+blocks/16) // distances in seq may take a byte more
	m := &merge{inputs: inputs, out: out, slice: min(mergeSlice, keys/fanIn+1)}
	for _, r := range inputs {
		c := newCursor(r)
		ok, err := c.advance()
		if err != nil {
			out.abandon()
			return nil, err
		}
		if ok {
			m.cursors = append(m.cursors, c)
		}
	}
	heap.Init(&m.cursors)
	return m, nil
}

// step moves a slice of entries or a piece of the index, and returns the run when it is whole.
func (m *merge) step() (*run, error) {
	if len(m.cursors) == 0 {
		return m.out.finishStep()
	}
	for n := int64(0); n < m.slice && len(m.cursors) > 0; n++ {
		c := m.cursors[0]
		if err := m.out.add(c.entry); err != nil {
			return nil, err
		}
		ok, err := c.advance()
		if err != nil {
			return nil, err
		}
		if ok {
			heap.Fix(&m.cursors, 0)
		} else {
			heap.Pop(&m.cursors)
		}
	}
	return nil, nil
}

// moved is how much it has moved so far, entries and words of the index.
func (m *merge) moved() int64 { return m.out.run.Keys + m.out.words }

// cursors is a heap of cursors by their entries.
type cursors []*cursor

func (c cursors) Len() int           { return len(c) }
func (c cursors) Less(i, j int) bool { return byHash(c[i].entry, c[j].entry) < 0 }
func (c cursors) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c *cursors) Push(x any)        { *c = append(*c, x.(*cursor)) }
func (c *cursors) Pop() any {
	last := len(*c) - 1
	x := (*c)[last]
	*c = (*c)[:last]
	return x
}
