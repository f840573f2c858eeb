package pipeline

import "testing"

// TestWatchTellsItsTopic: a watch is told of stored events of its topic, and of nothing else.
func TestWatchTellsItsTopic(t *testing.T) {
	p := &Pipeline{}
	a, b, all := p.Watch("a"), p.Watch("b"), p.Watch("")
	told := func(w *Watch) bool {
		select {
		case <-w.C:
			return true
		default:
			return false
		}
	}
	for _, test := range []struct {
		topics     []string
		stored     []bool
		a, b, each bool
	}{
		{nil, nil, false, false, false},
		{[]string{"a", "a", "c"}, []bool{true, true, true}, true, false, true},
		{[]string{"a", "b"}, []bool{false, true}, false, true, true},
		{[]string{"a", "b"}, []bool{false, false}, false, false, false},
		{[]string{"c"}, []bool{true}, false, false, true},
	} {
		p.watches.tell(len(test.topics), func(i int) string { return test.topics[i] }, test.stored)
		if x, y, z := told(a), told(b), told(all); x != test.a || y != test.b || z != test.each {
			t.Errorf("%v stored %v: told %v %v %v, want %v %v %v", test.topics, test.stored, x, y, z, test.a, test.b, test.each)
		}
	}
	a.Stop()
	b.Stop()
	all.Stop()
	if len(p.watches.open) != 0 {
		t.Errorf("%d watches are left", len(p.watches.open))
	}
}
