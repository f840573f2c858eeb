package dedup

import "container/heap"

// merge makes one run of several neighbours, a slice at a time. Their keys are all different.
type merge struct {
	inputs  []*run
	cursors cursors
	out     *builder
}

// mergeSlice is how many entries a merge moves before the worker looks whether something smaller waits: about 3 ms.
const mergeSlice = 50_000

func newMerge(dir, file string, inputs []*run) (*merge, error) {
	var keys int64
	for _, r := range inputs {
		keys += r.Keys
	}
	named := Run{File: file, First: inputs[0].First, Last: inputs[len(inputs)-1].Last}
	out, err := newBuilder(dir, named, keys)
	if err != nil {
		return nil, err
	}
	m := &merge{inputs: inputs, out: out}
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

// step moves a slice of entries and returns the run when it is whole.
func (m *merge) step() (*run, error) {
	for range mergeSlice {
		if len(m.cursors) == 0 {
			return m.out.finish()
		}
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
