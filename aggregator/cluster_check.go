package aggregator

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"sekali/aggregator/internal/cluster"
)

const (
	// deepWait is how long a node may take to come to where the furthest was when it was asked.
	deepWait = time.Minute
	// deepLine is the longest line of an export: a payload may be written with six bytes for one.
	deepLine  = 64 << 20
	deepPause = 200 * time.Millisecond
)

// ClusterCheck holds the replicas to each other: by what they tell of themselves, and with Deep by
// every event that each of them gives. The error says that something is wrong.
func ClusterCheck(ctx context.Context, c ClusterConfig, w io.Writer) error {
	if c.Deep == (len(c.Peers) == 0) {
		return fmt.Errorf("%w: -deep and -peers go together", ErrConfig)
	}
	if c.Deep && len(c.Peers) < 2 {
		return fmt.Errorf("%w: -peers=%s: two at least, or there is nothing to compare", ErrConfig, c.Peers[0])
	}
	peers := make([]*peer, len(c.Peers))
	for i, url := range c.Peers {
		var err error
		if peers[i], err = c.newPeer(url, peerStalls); err != nil {
			return err
		}
	}
	faults, err := c.checkTold(ctx, w)
	if err != nil {
		return err
	}
	if c.Deep {
		found, err := checkDeep(ctx, peers, w)
		if err != nil {
			return err
		}
		faults = append(faults, found...)
	}
	return writeFaults(w, faults)
}

// checkTold compares positions, epochs and hashes as the nodes tell them.
func (c *ClusterConfig) checkTold(ctx context.Context, w io.Writer) (faults []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, clusterBudget)
	defer cancel()
	log, head, err := c.reachLatest(ctx)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	faults = slices.Clone(head.Faults)
	fmt.Fprintf(w, "cluster %s, epoch %d, log %d to %d\n", head.Cluster, head.Epoch, head.First, head.Last)
	beats, err := cluster.Beats(ctx, log.Registry(), head.Nodes)
	if err != nil {
		return nil, err
	}
	faults = append(faults, writeTold(ctx, w, log.Registry(), head)...)
	for i, a := range beats {
		for _, b := range beats[i+1:] {
			said, fault := compareTold(&a, &b)
			if fault != "" {
				faults = append(faults, fault)
			} else {
				fmt.Fprintln(w, said)
			}
		}
	}
	return faults, nil
}

// compareTold compares what two nodes tell.
func compareTold(a, b *cluster.Beat) (said, fault string) {
	both := a.Node + " and " + b.Node
	if a.Cluster != b.Cluster || a.Epoch != b.Epoch {
		return "", fmt.Sprintf("%s are of different logs: %s, epoch %d, and %s, epoch %d", both, a.Cluster, a.Epoch, b.Cluster, b.Epoch)
	}
	at, hashes, ok := cluster.CompareBeats(a, b)
	switch {
	case !ok:
		return both + " have told no hash of one position", ""
	case hashes[0] != hashes[1]:
		return "", fmt.Sprintf("%s differ: at %d they have the hashes %s and %s", both, at, hashes[0], hashes[1])
	}
	return fmt.Sprintf("%s have the same hash at %d", both, at), ""
}

// replicaAt is what a node says of itself.
type replicaAt struct {
	LastSeq    int64 `json:"last_seq"`
	ExpiredSeq int64 `json:"expired_seq"`
	Cluster    struct {
		Node     string `json:"node"`
		Epoch    uint64 `json:"epoch"`
		Position uint64 `json:"position"`
		Hash     string `json:"hash"`
	} `json:"cluster"`
}

// stats asks a peer how far it is.
func (p *peer) stats(ctx context.Context) (r replicaAt, err error) {
	answer, err := p.get(ctx, "/stats", "")
	if err != nil {
		return r, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		_, err := p.refusedBy(answer)
		return r, err
	}
	if err := json.NewDecoder(answer.Body).Decode(&r); err != nil {
		return r, fmt.Errorf("%s/stats: %w", p.url, err)
	}
	if r.Cluster.Node == "" {
		return r, fmt.Errorf("%s is no node of a cluster", p.url)
	}
	return r, nil
}

// checkDeep reads the events of all peers in the order of seq, up to where the furthest of them is
// now, and names the first at which they differ.
func checkDeep(ctx context.Context, peers []*peer, w io.Writer) (faults []string, err error) {
	names, until, faults, err := awaitAll(ctx, peers)
	if err != nil || len(faults) > 0 {
		return faults, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	exports := make([]*deepExport, len(peers))
	for i, p := range peers {
		if exports[i], err = p.export(ctx, names[i], until); err != nil {
			return nil, err
		}
		defer exports[i].body.Close()
	}
	compared, fault, err := compareExports(exports, func() (int64, error) { return expiredThrough(ctx, peers) })
	if err != nil {
		return nil, err
	}
	if fault != "" {
		return []string{fault}, nil
	}
	fmt.Fprintf(w, "deep: %s have the same %d events up to seq %d\n", strings.Join(names, ", "), compared, until)
	return nil, nil
}

// awaitAll waits until every peer is as far as the furthest was at the beginning, and returns their
// names and its last seq.
func awaitAll(ctx context.Context, peers []*peer) (names []string, until int64, faults []string, err error) {
	var furthest replicaAt
	for _, p := range peers {
		now, err := p.stats(ctx)
		if err != nil {
			return nil, 0, nil, err
		}
		names = append(names, now.Cluster.Node)
		if furthest.Cluster.Node != "" && furthest.Cluster.Epoch != now.Cluster.Epoch {
			return names, 0, []string{fmt.Sprintf("%s is of epoch %d, and %s of %d", furthest.Cluster.Node, furthest.Cluster.Epoch, now.Cluster.Node, now.Cluster.Epoch)}, nil
		}
		if furthest.Cluster.Node == "" || now.Cluster.Position > furthest.Cluster.Position {
			furthest = now
		}
	}
	end := time.Now().Add(deepWait)
	for i, p := range peers {
		for {
			now, err := p.stats(ctx)
			if err != nil {
				return nil, 0, nil, err
			}
			if now.Cluster.Position >= furthest.Cluster.Position {
				break
			}
			if time.Now().After(end) || ctx.Err() != nil {
				return names, 0, []string{fmt.Sprintf("%s is at %d, and has not come to %d, where %s was, in %v", names[i], now.Cluster.Position, furthest.Cluster.Position, furthest.Cluster.Node, deepWait)}, nil
			}
			time.Sleep(deepPause)
		}
	}
	return names, furthest.LastSeq, nil, nil
}

// expiredThrough is up to where content has expired at one of the peers. What an export shows, its
// node counts a moment later.
func expiredThrough(ctx context.Context, peers []*peer) (through int64, err error) {
	time.Sleep(deepPause)
	for _, p := range peers {
		now, err := p.stats(ctx)
		if err != nil {
			return 0, err
		}
		through = max(through, now.ExpiredSeq)
	}
	return through, nil
}

// deepEvent is an event as a node gives it.
type deepEvent struct {
	Seq   int64  `json:"seq"`
	Topic string `json:"topic"`
	ID    string `json:"event_id"`
	line  string // all of it
}

// deepExport reads the events of a node up to a seq.
type deepExport struct {
	node  string
	until int64
	body  io.Closer
	lines *bufio.Scanner
	now   deepEvent
	ended bool
}

func (p *peer) export(ctx context.Context, node string, until int64) (*deepExport, error) {
	answer, err := p.get(ctx, "/events", "application/x-ndjson")
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		_, err := p.refusedBy(answer)
		answer.Body.Close()
		return nil, err
	}
	e := &deepExport{node: node, until: until, body: answer.Body, lines: bufio.NewScanner(answer.Body)}
	e.lines.Buffer(make([]byte, 64<<10), deepLine)
	return e, nil
}

// next moves to the next event; ended: there is none up to until. An export that breaks off, or
// that stalls, is an error, and no difference.
func (e *deepExport) next() error {
	if e.ended {
		return nil
	}
	if !e.lines.Scan() {
		e.ended = true
		if err := e.lines.Err(); err != nil {
			return fmt.Errorf("the events of %s behind seq %d: %w", e.node, e.now.Seq, err)
		}
		return nil
	}
	before := e.now.Seq
	e.now = deepEvent{line: e.lines.Text()}
	if err := json.Unmarshal(e.lines.Bytes(), &e.now); err != nil {
		if !e.lines.Scan() { // of an export that broke off it is the line that did not arrive whole
			err = cmp.Or(e.lines.Err(), err)
		}
		return fmt.Errorf("the events of %s behind seq %d: %w", e.node, before, err)
	}
	if e.now.Seq <= before {
		return fmt.Errorf("the events of %s: seq %d behind %d", e.node, e.now.Seq, before)
	}
	e.ended = e.now.Seq > e.until
	return nil
}

// past moves behind the events up to a seq, and reports whether it was at one of them.
func (e *deepExport) past(seq int64) (moved bool, err error) {
	for err == nil && !e.ended && e.now.Seq <= seq {
		moved, err = true, e.next()
	}
	return moved, err
}

// compareExports reads all exports side by side, up to the first difference. They begin one after
// the other, and each page shows what has not expired by then: so an event that some have, and that
// has expired at one peer since, is passed over by all.
func compareExports(exports []*deepExport, expired func() (int64, error)) (compared int64, fault string, err error) {
	for ; ; compared++ {
		var errs []error
		for _, e := range exports {
			errs = append(errs, e.next())
		}
		if err := errors.Join(errs...); err != nil {
			return compared, "", err
		}
		for fault := difference(exports); fault != ""; fault = difference(exports) {
			through, err := expired()
			moved := false
			for _, e := range exports {
				past, failed := e.past(through)
				moved, err = moved || past, errors.Join(err, failed)
			}
			if err != nil || !moved {
				return compared, fault, err
			}
		}
		if exports[0].ended {
			return compared, "", nil
		}
	}
}

// difference says how the events differ at which the exports are; "": they do not.
func difference(exports []*deepExport) string {
	least := int64(0) // the first seq that one of them has
	for _, e := range exports {
		if !e.ended && (least == 0 || e.now.Seq < least) {
			least = e.now.Seq
		}
	}
	if least == 0 {
		return ""
	}
	var variants []string
	nodes := map[string][]string{}
	event := deepEvent{}
	for _, e := range exports {
		line := ""
		if !e.ended && e.now.Seq == least {
			line, event = e.now.line, e.now
		}
		if _, known := nodes[line]; !known {
			variants = append(variants, line)
		}
		nodes[line] = append(nodes[line], e.node)
	}
	if len(variants) == 1 {
		return ""
	}
	var says []string
	for _, line := range variants {
		what := "have not"
		if line != "" {
			what = fmt.Sprintf("have %.300s", line)
		}
		says = append(says, strings.Join(nodes[line], " and ")+" "+what)
	}
	return fmt.Sprintf("the first difference is at seq %d, topic %q, event_id %q: %s", least, event.Topic, event.ID, strings.Join(says, "; "))
}
