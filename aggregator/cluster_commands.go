package aggregator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/cluster/jetstream"
	"sekali/aggregator/journal"
	"sekali/aggregator/store"
	"sekali/internal/sqlite"
)

// clusterBudget bounds a command on a cluster.
const clusterBudget = 20 * time.Second

// ClusterConfig is what the commands on a cluster as a whole are told.
type ClusterConfig struct {
	URLs, TokenFile, CAFile string
	Version                 string

	// Of init.
	Nodes    []string
	Replicas int
	LogBytes int64
	Data     string // "": the cluster begins with nothing

	Begin bool   // of new-epoch: this store is the furthest
	From  string // of join: the copy of another replica's database, or a peer's URL
	Node  string // of forget, and of join from a peer

	Deep  bool     // of check
	Peers []string // the URLs of the aggregators

	PeerTokenFile, PeerCA string // of join and check, to ask aggregators with

	Position uint64 // of skip: of the message that is passed over
}

// reachWait is how long a command waits for a server of the log that lets it in.
const reachWait = clusterBudget / 2

// dial connects to the log of an epoch, once one of its servers lets this client in.
func (c *ClusterConfig) dial(ctx context.Context, epoch uint64) (*jetstream.Log, error) {
	if c.URLs == "" {
		return nil, fmt.Errorf("%w: -cluster is needed", ErrConfig)
	}
	cfg := jetstream.Config{URLs: c.URLs, TokenFile: c.TokenFile, CAFile: c.CAFile, Name: "aggregator cluster",
		Logger: slog.New(slog.DiscardHandler)}
	if err := jetstream.Reach(ctx, cfg, reachWait); err != nil {
		return nil, fmt.Errorf("-cluster: %w", err)
	}
	log, err := jetstream.Dial(cfg, epoch)
	if err != nil {
		return nil, fmt.Errorf("%w: -cluster: %w", ErrConfig, err)
	}
	return log, nil
}

func (c *ClusterConfig) checkInit() error {
	if len(c.Nodes) == 0 {
		return fmt.Errorf("%w: -nodes is needed", ErrConfig)
	}
	if len(c.Nodes) < 2 {
		return fmt.Errorf("%w: -nodes=%s: two at least, or nothing would be in two stores", ErrConfig, c.Nodes[0])
	}
	for i, name := range c.Nodes {
		if !nodeName.MatchString(name) || slices.Contains(c.Nodes[:i], name) {
			return fmt.Errorf("%w: -nodes: %q, want different names of small letters, digits and -", ErrConfig, name)
		}
	}
	if c.Replicas != 1 && c.Replicas != 3 {
		return fmt.Errorf("%w: -replicas=%d, want 3, or 1", ErrConfig, c.Replicas)
	}
	if c.LogBytes < 64<<20 {
		return fmt.Errorf("%w: -log-bytes=%d, want %d at least", ErrConfig, c.LogBytes, 64<<20)
	}
	return nil
}

// ClusterInit makes the log of a new cluster. With the folder of a stopped aggregator its store
// becomes the beginning, which the other nodes get as a copy. A log that is there is left as it is.
func ClusterInit(ctx context.Context, c ClusterConfig, w io.Writer) error {
	if err := c.checkInit(); err != nil {
		return err
	}
	log, err := c.dial(ctx, firstEpoch)
	if err != nil {
		return err
	}
	defer log.Close()
	ctx, cancel := context.WithTimeout(ctx, clusterBudget)
	defer cancel()
	wanted := jetstream.Wanted{Nodes: c.Nodes, Replicas: c.Replicas, Bytes: c.LogBytes, Apply: cluster.ApplyVersion}
	if c.Data == "" {
		return c.initLog(ctx, log, wanted, w, func(cluster.Head) error { return nil })
	}
	if _, err := os.Stat(filepath.Join(c.Data, store.File)); err != nil {
		return err // before lock would make the folder
	}
	unlock, err := lockByHand(c.Data)
	if err != nil {
		return err
	}
	defer unlock()
	s, state, err := openBegun(c.Data)
	if err != nil {
		return err
	}
	if err := c.checkBase(s, state); err != nil {
		return errors.Join(err, s.Close())
	}
	wanted.Base = state.LastSeq
	err = c.initLog(ctx, log, wanted, w, func(head cluster.Head) error {
		return s.Change(func(conn *sqlite.Conn) error { return cluster.MakeReplica(conn, head.Identity, head.Apply) })
	})
	return errors.Join(err, s.Close())
}

// checkBase refuses a store that cannot be the beginning of a cluster.
func (c *ClusterConfig) checkBase(s *store.Store, state store.State) error {
	replica, err := isReplica(s)
	if err != nil {
		return err
	}
	waiting, err := journal.Check(filepath.Join(c.Data, "journal"), state.Journal)
	if err != nil {
		return err
	}
	switch n := waiting.Events - state.JournalApplied; {
	case replica:
		return fmt.Errorf("%s is a replica of a cluster already", c.Data)
	case n > 0:
		return fmt.Errorf("%s: %d events wait in the journal: start the aggregator once without -cluster, and stop it", c.Data, n)
	case s.Info.Dedup != store.DedupRuns:
		return fmt.Errorf("%s was made with -dedup %s, a cluster wants runs", c.Data, s.Info.Dedup)
	case s.Info.Layout != store.LayoutBlocks:
		return fmt.Errorf("%s was made with -layout %s, a cluster wants blocks", c.Data, s.Info.Layout)
	}
	return nil
}

// initLog makes the log, and then what else has to be made for it.
func (c *ClusterConfig) initLog(ctx context.Context, log *jetstream.Log, wanted jetstream.Wanted, w io.Writer, then func(cluster.Head) error) error {
	head, err := awaitInit(ctx, log, wanted)
	if errors.Is(err, jetstream.ErrLater) && c.Data == "" {
		return c.goneOn(ctx, wanted, w)
	}
	exists := errors.Is(err, jetstream.ErrExists)
	if err != nil && !exists {
		return err
	}
	if exists && (!slices.Equal(head.Nodes, wanted.Nodes) || head.Base != wanted.Base || len(head.Faults) > 0 || wanted.Base != 0 && head.Last > 0) {
		return fmt.Errorf("there is a log already, of the nodes %s, which began with the events up to %d%s", strings.Join(head.Nodes, ","), head.Base, faultsOf(head))
	}
	if err := then(head); err != nil {
		return err
	}
	what := "made"
	if exists {
		what = "is there already"
	}
	fmt.Fprintf(w, "cluster %s: its log %s, of the nodes %s, beginning with the events up to %d\n", head.Cluster, what, strings.Join(head.Nodes, ", "), head.Base)
	return nil
}

// goneOn is initLog where the cluster is there, and has gone on with a log of a later epoch.
func (c *ClusterConfig) goneOn(ctx context.Context, wanted jetstream.Wanted, w io.Writer) error {
	log, head, err := c.reachLatest(ctx)
	if err != nil {
		return err
	}
	defer log.Close()
	if !slices.Equal(head.Nodes, wanted.Nodes) || len(head.Faults) > 0 {
		return fmt.Errorf("there is a log already, of epoch %d, of the nodes %s%s", head.Epoch, strings.Join(head.Nodes, ","), faultsOf(head))
	}
	fmt.Fprintf(w, "cluster %s: its log is there already, of epoch %d, of the nodes %s\n", head.Cluster, head.Epoch, strings.Join(head.Nodes, ", "))
	return nil
}

// faultsOf are those of a log's settings, behind what else is said of it.
func faultsOf(head cluster.Head) string {
	if len(head.Faults) == 0 {
		return ""
	}
	return ": " + strings.Join(head.Faults, "; ")
}

// count is a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// awaitInit tries until the servers have found each other. What no later attempt would change ends
// it.
func awaitInit(ctx context.Context, log *jetstream.Log, wanted jetstream.Wanted) (cluster.Head, error) {
	var why error
	for {
		each := clusterBudget / 4
		if wanted.May != nil {
			each += stoppedFor // which it watches
		}
		attempt, cancel := context.WithTimeout(ctx, each)
		head, err := log.Init(attempt, wanted)
		cancel()
		if err == nil || errors.Is(err, jetstream.ErrExists) || errors.Is(err, jetstream.ErrLater) || errors.Is(err, errNotStopped) || errors.Is(err, errFurther) {
			return head, err
		}
		if ctx.Err() == nil || why == nil { // that the time is up is no reason
			why = err
		}
		select {
		case <-ctx.Done():
			return head, why
		case <-time.After(joinPause):
		}
	}
}

// ClusterStatus writes what the log and the nodes say. The error says that something is wrong.
func ClusterStatus(ctx context.Context, c ClusterConfig, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, clusterBudget)
	defer cancel()
	log, head, err := c.reachLatest(ctx)
	if err != nil {
		return err
	}
	defer log.Close()
	wrong := slices.Clone(head.Faults)
	fmt.Fprintf(w, "cluster %s, epoch %d\nlog: %d to %d, %d bytes\n", head.Cluster, head.Epoch, head.First, head.Last, head.Bytes)
	for _, p := range head.Peers {
		what := fmt.Sprintf("%d behind", p.Behind)
		switch {
		case p.Name == head.Leader:
			what = "leader"
		case p.Offline:
			what = "away"
			wrong = append(wrong, "the log's server "+p.Name+" is away")
		}
		fmt.Fprintf(w, "  %s: %s\n", p.Name, what)
	}
	if lacking := head.Lacking(); lacking != "" {
		wrong = append(wrong, lacking)
	}
	wrong = append(wrong, beingFilled(ctx, log.Copies, head)...)
	if err := log.Synced(ctx); err != nil {
		wrong = append(wrong, err.Error())
	} else {
		fmt.Fprintln(w, "  all that are there sync what they store")
	}
	if fault := nearlyFull(ctx, log.Registry(), head); fault != "" {
		wrong = append(wrong, fault)
	}
	for _, name := range head.Nodes {
		line, fault := statusOfNode(ctx, log.Registry(), name, head)
		fmt.Fprintf(w, "node %s: %s\n", name, line)
		if fault != "" {
			wrong = append(wrong, "node "+name+": "+fault)
		}
	}
	for _, fault := range wrong {
		fmt.Fprintln(w, "fault:", fault)
	}
	if len(wrong) > 0 {
		return errors.New(count(len(wrong), "fault"))
	}
	fmt.Fprintln(w, "ok")
	return nil
}

// fillWait is how long a server of the log may take to have what the log had at the beginning of
// that time. One that is not being filled has it at once.
const fillWait = 2 * time.Second

// beingFilled says whose copy of the log is not whole. Such a server does not lead, and keeps
// another from it that has less than it was told of: so until it is filled the loss of one more is
// the loss of the quorum, though three are there. Where no server answers that, nothing is said.
func beingFilled(ctx context.Context, copies func(context.Context) (map[string]uint64, error), head cluster.Head) (faults []string) {
	for end := time.Now().Add(fillWait); ; {
		ends, err := copies(ctx)
		if err != nil || len(ends) == 0 {
			return nil
		}
		faults = nil
		for _, p := range head.Peers {
			switch last, said := ends[p.Name]; {
			case p.Offline:
			case !said:
				faults = append(faults, "the log's server "+p.Name+" has not said how far its copy goes")
			case last < head.Last:
				faults = append(faults, fmt.Sprintf("the log's server %s is being filled: its copy goes to %d of %d", p.Name, last, head.Last))
			}
		}
		if len(faults) == 0 || time.Now().After(end) || ctx.Err() != nil {
			return faults
		}
		time.Sleep(joinPause)
	}
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

// dialLatest is dial for the latest epoch that there is a log of.
func (c *ClusterConfig) dialLatest(ctx context.Context) (*jetstream.Log, error) {
	for end := time.Now().Add(reachWait); ; time.Sleep(joinPause) {
		log, err := c.dial(ctx, firstEpoch)
		if err != nil {
			return nil, err
		}
		epochs, err := log.Epochs(ctx)
		if err == nil && len(epochs) > 0 && epochs[len(epochs)-1] != firstEpoch {
			_ = log.Close() // it was asked
			return c.dial(ctx, epochs[len(epochs)-1])
		}
		if err == nil || ctx.Err() != nil {
			return log, nil
		}
		if time.Now().After(end) {
			if _, why := log.Head(ctx); why != nil { // it says who is there
				return nil, errors.Join(why, log.Close())
			}
		}
		_ = log.Close() // it is dialled again
	}
}

// reachLatest dials the log of the latest epoch, and waits for what it says of itself.
func (c *ClusterConfig) reachLatest(ctx context.Context) (*jetstream.Log, cluster.Head, error) {
	log, err := c.dialLatest(ctx)
	if err != nil {
		return nil, cluster.Head{}, err
	}
	head, err := awaitHeadOf(ctx, log)
	if err != nil {
		return nil, head, errors.Join(err, log.Close())
	}
	return log, head, nil
}

// awaitHeadOf asks until the servers have a leader, or ctx ends.
func awaitHeadOf(ctx context.Context, log *jetstream.Log) (cluster.Head, error) {
	var why error
	for {
		head, err := log.Head(ctx)
		if err == nil {
			return head, nil
		}
		if ctx.Err() == nil || why == nil { // that the time is up is no reason
			why = err
		}
		select {
		case <-ctx.Done():
			return head, why
		case <-time.After(joinPause):
		}
	}
}

// ClusterForget makes the log go on without a node that is away.
func ClusterForget(ctx context.Context, c ClusterConfig, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, clusterBudget)
	defer cancel()
	log, head, err := c.reachLatest(ctx)
	if err != nil {
		return err
	}
	defer log.Close()
	if !slices.Contains(head.Nodes, c.Node) {
		return fmt.Errorf("%w: -node=%q is none of the cluster's: %v", ErrConfig, c.Node, head.Nodes)
	}
	if err := cluster.Forget(ctx, log.Registry(), c.Node); err != nil {
		return err
	}
	fmt.Fprintf(w, "the log does not wait for %s any more: when it comes back and has fallen off the log, `aggregator cluster join` makes it anew\n", c.Node)
	return nil
}

// retentionText is a retention as -retention has it; 0 is none.
func retentionText(d time.Duration) string {
	if d == 0 {
		return "none"
	}
	return d.String()
}

const (
	// beatAge is how old what a node has told may be by its clock and this one's, which may differ. A
	// node of which it is older, or of later, is watched for silentFor.
	beatAge   = 10 * time.Second
	silentFor = 3 * time.Second
)

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
	case age.Abs() > beatAge:
		return line, silence(ctx, registry, name, revision, age)
	}
	return line, ""
}

// silence watches a node whose latest word seems to be old, or of later. One that goes on to tell
// has another time than this machine.
func silence(ctx context.Context, registry cluster.Registry, name string, revision uint64, age time.Duration) (fault string) {
	for end := time.Now().Add(silentFor); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(joinPause) {
		if _, now, err := registry.Get(ctx, name); err == nil && now != revision {
			how := "behind"
			if age < 0 {
				how = "ahead of"
			}
			return fmt.Sprintf("its clock is %v %s this machine's", age.Abs().Round(time.Second), how)
		}
	}
	if age < 0 {
		return fmt.Sprintf("it tells nothing, and its clock was %v ahead of this machine's at least", age.Abs().Round(time.Second))
	}
	return fmt.Sprintf("it has told nothing for %.0f s", age.Seconds())
}
