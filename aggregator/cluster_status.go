package aggregator

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/cluster/jetstream"
)

const (
	// fillWait is how long a server of the log may take to have what the log had at the beginning of
	// that time. One that is not being filled has it at once.
	fillWait = 2 * time.Second
	// registryWait is how long the registry may take to have a leader, when the one that it had was
	// killed a moment ago.
	registryWait = 10 * time.Second
	// beatAge is how old what a node has told may be by its clock and this one's, which may differ.
	beatAge = 10 * time.Second
	// silentFor is how long a node is watched for another word. It tells one a second.
	silentFor = 3 * time.Second
)

// ClusterStatus writes what the log and the nodes say. The error says that something is wrong.
func ClusterStatus(parent context.Context, c ClusterConfig, w io.Writer) error {
	ctx, cancel := context.WithTimeout(parent, clusterBudget)
	defer cancel()
	log, head, err := c.reachLatest(ctx)
	if err != nil {
		return err
	}
	defer log.Close()
	ends := awaitCopies(ctx, log.Copies, head)
	if lost := lostQuorum(&head, ends); lost != nil {
		fmt.Fprintln(w, "fault:", lost)
		_ = writeServers(w, head, ends) // whom the fault names
		return errors.New(count(1, "fault"))
	}
	ctx, cancel = context.WithTimeout(parent, clusterBudget) // to find the log may have taken all of it
	defer cancel()
	wrong := slices.Clone(head.Faults)
	fmt.Fprintf(w, "cluster %s, epoch %d\nlog: %d to %d, %d bytes\n", head.Cluster, head.Epoch, head.First, head.Last, head.Bytes)
	wrong = append(wrong, writeServers(w, head, ends)...)
	if lacking := head.Lacking(); lacking != "" {
		wrong = append(wrong, lacking)
	}
	if err := log.Synced(ctx); err != nil {
		wrong = append(wrong, err.Error())
	} else {
		fmt.Fprintln(w, "  all that are there sync what they store")
	}
	wrong = append(wrong, writeNodes(ctx, w, log, head)...)
	return writeFaults(w, wrong)
}

// awaitCopies is up to where each server's own copy of the log goes. It waits for all that are
// there to have what the log had, for fillWait at most. It has none if no server answers that.
func awaitCopies(ctx context.Context, copies func(context.Context) (map[string]uint64, error), head cluster.Head) map[string]uint64 {
	ends := map[string]uint64{}
	for end := time.Now().Add(fillWait); ; time.Sleep(joinPause) {
		now, err := copies(ctx)
		if err == nil {
			maps.Copy(ends, now) // who has answered once is there
		}
		if len(ends) == 0 {
			return nil
		}
		whole := true
		for _, p := range head.Peers {
			last, said := ends[p.Name]
			whole = whole && (p.Offline || said && last >= head.Last)
		}
		if whole || time.Now().After(end) || ctx.Err() != nil {
			return ends
		}
	}
}

// lostQuorum says that the servers are too few that answer. The log's leader takes some seconds to
// notice that one does not, or does again: where any has said how far its copy goes, who has not is
// away, and who has is there.
func lostQuorum(head *cluster.Head, ends map[string]uint64) error {
	head.Peers = slices.Clone(head.Peers)
	for i := range head.Peers {
		p := &head.Peers[i]
		_, said := ends[p.Name]
		if len(ends) > 0 {
			p.Offline = !said
		}
	}
	if lost := head.Lost(); lost != nil {
		return fmt.Errorf("%w: %w", cluster.ErrNoQuorum, lost)
	}
	return nil
}

// writeServers writes a line for each server of the log, and returns who is away, and whose copy is
// not whole. Such a server does not lead, and keeps another from it that has less than it was told
// of: so until it is filled the loss of one more is the loss of the quorum, though three are there.
func writeServers(w io.Writer, head cluster.Head, ends map[string]uint64) (faults []string) {
	for _, p := range head.Peers {
		what := fmt.Sprintf("%d behind", p.Behind)
		last, said := ends[p.Name]
		switch {
		case p.Offline:
			what = "away"
			faults = append(faults, "the log's server "+p.Name+" is away")
		case said && last < head.Last:
			what = "being filled"
			faults = append(faults, fmt.Sprintf("the log's server %s is being filled: its copy goes to %d of %d", p.Name, last, head.Last))
		case p.Name == head.Leader:
			what = "leader"
		}
		fmt.Fprintf(w, "  %s: %s\n", p.Name, what)
	}
	return faults
}

// writeNodes writes a line for each node, and returns what is wrong with them, and with the room
// that the log has for them. That the registry does not answer is no fault of a node.
func writeNodes(ctx context.Context, w io.Writer, log *jetstream.Log, head cluster.Head) (faults []string) {
	if err := awaitRegistry(ctx, log.Registry(), head); err != nil {
		return []string{"what the nodes tell cannot be read: " + err.Error()}
	}
	if fault := nearlyFull(ctx, log.Registry(), head); fault != "" {
		faults = append(faults, fault)
	}
	return append(faults, writeTold(ctx, w, log.Registry(), head)...)
}

// awaitRegistry waits until the registry answers, for registryWait at most.
func awaitRegistry(ctx context.Context, registry cluster.Registry, head cluster.Head) error {
	for end := time.Now().Add(registryWait); ; time.Sleep(joinPause) {
		var err error
		for _, name := range head.Nodes {
			if _, _, err = registry.Get(ctx, name); err != nil {
				break
			}
		}
		if err == nil || time.Now().After(end) || ctx.Err() != nil {
			return err
		}
	}
}

// writeTold writes what each node tells. All are watched at the same time.
func writeTold(ctx context.Context, w io.Writer, registry cluster.Registry, head cluster.Head) (faults []string) {
	lines, wrong := make([]string, len(head.Nodes)), make([]string, len(head.Nodes))
	var all sync.WaitGroup
	for i, name := range head.Nodes {
		all.Go(func() { lines[i], wrong[i] = statusOfNode(ctx, registry, name, head) })
	}
	all.Wait()
	for i, name := range head.Nodes {
		fmt.Fprintf(w, "node %s: %s\n", name, lines[i])
		if wrong[i] != "" {
			faults = append(faults, "node "+name+": "+wrong[i])
		}
	}
	return faults
}

// nearlyFull says that the log has little room left, and for which node it keeps what it has; "":
// it has room. For one that is away it keeps three quarters at most: that is well below.
func nearlyFull(ctx context.Context, registry cluster.Registry, head cluster.Head) string {
	if head.MaxBytes == 0 || head.Bytes <= head.MaxBytes/10*9 {
		return ""
	}
	said := fmt.Sprintf("the log is nearly full: %d of %d bytes", head.Bytes, head.MaxBytes)
	beats, err := cluster.Beats(ctx, registry, head.Nodes)
	if err != nil {
		return said // statusOfNode says why
	}
	var last *cluster.Beat
	for i, b := range beats {
		there := b.Cluster == head.Cluster && b.Epoch == head.Epoch && !b.Forgotten && b.Halted == "" && b.Position+1 >= head.First
		if there && (last == nil || b.Position < last.Position) {
			last = &beats[i]
		}
	}
	if last != nil && last.Position < head.Last {
		said += fmt.Sprintf("; it is kept for %s, which is at %d", last.Node, last.Position)
	}
	return said
}

// retentionText is a retention as -retention has it; 0 is none.
func retentionText(d time.Duration) string {
	if d == 0 {
		return "none"
	}
	return d.String()
}

func statusOfNode(ctx context.Context, registry cluster.Registry, name string, head cluster.Head) (line, fault string) {
	value, revision, err := registry.Get(ctx, name)
	if err != nil {
		return "not known", err.Error()
	}
	if revision == 0 {
		return "was never there", "it was never there"
	}
	var b cluster.Beat
	if err := json.Unmarshal(value, &b); err != nil {
		return "not understood", err.Error()
	}
	line = fmt.Sprintf("at %d (%d behind)", b.Position, max(head.Last, b.Position)-b.Position)
	if b.Hash != "" {
		line += ", hash " + b.Hash
	}
	if b.Version == "" { // what join has told for it
		line += ", has never run"
	} else {
		line += fmt.Sprintf(", version %s, knows apply version %d, retention %s", b.Version, b.Apply, retentionText(b.Retention))
	}
	age := time.Since(b.At)
	if age < -beatAge {
		line += fmt.Sprintf(", told at %s by its clock", b.At.Format(time.RFC3339))
	} else {
		line += fmt.Sprintf(", told %.0f s ago", max(0, age.Seconds()))
	}
	if b.Left {
		line += ", stopped since"
	}
	switch {
	case b.Forgotten:
		return line + ", forgotten", "it was forgotten: the log does not wait for it"
	case b.Halted != "":
		return line, b.Halted
	case b.Cluster != head.Cluster || b.Epoch != head.Epoch:
		return line, fmt.Sprintf("it is of another log, epoch %d of the cluster %s", b.Epoch, b.Cluster)
	case b.Joining:
		return line + ", joining", "it is being made anew, or that was broken off"
	case b.Position+1 < head.First:
		return line, fmt.Sprintf("it has fallen off the log, which begins at %d: `aggregator cluster join` makes it anew", head.First)
	case age.Abs() > beatAge || !b.Left && b.Version != "":
		return line, watch(ctx, registry, name, revision, b.At)
	}
	return line, ""
}

// watch waits for a node's next word that it is ready. A word from before this was asked may be of
// a time before the log lost its leader. A node whose next word is old when it comes, or of later,
// has another time than this machine.
func watch(ctx context.Context, registry cluster.Registry, name string, revision uint64, told time.Time) (fault string) {
	var unready string
	var failed error // of the last look
	for end := time.Now().Add(silentFor); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(joinPause) {
		value, now, err := registry.Get(ctx, name)
		failed = err
		var b cluster.Beat
		if err != nil || now == revision || json.Unmarshal(value, &b) != nil {
			continue
		}
		if age := time.Since(b.At); age.Abs() > beatAge {
			how := "behind"
			if age < 0 {
				how = "ahead of"
			}
			return fmt.Sprintf("its clock is %v %s this machine's", age.Abs().Round(time.Second), how)
		}
		if b.Unready == "" || b.Left {
			return ""
		}
		unready = b.Unready
	}
	age := time.Since(told)
	switch {
	case unready != "":
		return "it is not ready: " + unready
	case failed != nil || ctx.Err() != nil:
		return "what it tells cannot be read: " + cmp.Or(failed, ctx.Err()).Error()
	case age < -beatAge:
		return fmt.Sprintf("it tells nothing, and its clock was %v ahead of this machine's at least", age.Abs().Round(time.Second))
	}
	return fmt.Sprintf("it has told nothing for %.0f s", max(silentFor, age).Seconds())
}
