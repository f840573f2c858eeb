// Package crash names the places in the aggregator at which a crash must lose nothing. Built with
// -tags sekali_crash, the program dies at the place that SEKALI_CRASH names; built as usual, Here
// is empty and costs nothing.
//
// A test build has five more differences, so that few events reach every place: segments, runs and
// the WAL end Smaller times earlier. SEKALI_NOSYNC leaves every fsync out: it is the control of a
// power loss, which must then lose something. With SEKALI_FSYNC SQLite's syncs are fsync, so that
// strace can hold them up and not the journal's. And a node of a cluster panics where it applies an
// event of the topic that SEKALI_POISON names.
package crash

// The places, each passed by the normal work of a few thousand events.
const (
	JournalBegin   = "journal.begin"   // a segment's file is made, its header not yet durable
	JournalWritten = "journal.written" // a frame is written and not yet durable
	JournalSynced  = "journal.synced"  // a frame is durable and its publishers are not yet answered
	JournalRelease = "journal.release" // a segment is applied and not yet removed
	JournalCut     = "journal.cut"     // at the start, before the journal's tail is cut
	JournalShort   = "journal.short"   // at the start, it is cut and not yet durable
	StoreApplied   = "store.applied"   // a batch is in the transaction, which is not yet committed
	StoreCommitted = "store.committed" // a batch is committed, and memory does not know it yet
	WriterAnswer   = "writer.answer"   // those who wait for the commit are not yet answered
	Checkpoint     = "checkpoint"      // the WAL is about to be copied; SQLite copies its pages in one call, so there is no place between them
	Checkpointed   = "checkpointed"    // it is copied
	RunWritten     = "run.written"     // a run's file is written and not yet durable
	RunDurable     = "run.durable"     // it is durable and not yet on the list
	MergeStep      = "merge.step"      // in the middle of a merge
	MergeDurable   = "merge.durable"   // the merged run is durable and not yet on the list
	RunsReplaced   = "runs.replaced"   // the list is committed, and the files it left behind are still there
	DedupOpened    = "dedup.opened"    // at the start, before the newest keys are read back
)

// Two more: one wants a retention, the other a database of an older version.
const (
	StoreExpiring  = "store.expiring"  // blocks have expired in a transaction that is not yet committed
	StoreMigrating = "store.migrating" // so is the schema taken forward
)

// And those of a cluster.
const (
	LogSending  = "log.sending"  // a frame is in the journal and not yet sent to the log
	LogAnswered = "log.answered" // the log has it, and the outbox does not know it yet
	LogSeen     = "log.seen"     // it was read back from the log and is not yet in the store
)

// And those of a replica that is made from another one: on that one …
const (
	CopyMade = "copy.made" // the copy is written, and its file has a name still
	CopySent = "copy.sent" // a part of it is sent
)

// … and where it becomes one.
const (
	JoinPinned   = "join.pinned"   // the log is held, and nothing is copied yet
	JoinCopying  = "join.copying"  // a part of the copy has arrived
	JoinCopied   = "join.copied"   // all of it has, and its checksum is right
	JoinChecked  = "join.checked"  // it was checked and compared, and has this node's journal position
	JoinReplaced = "join.replaced" // it is in its place
)

// JoinPoints returns the places of a join: those of the replica that is copied, and those of the
// one that is made.
func JoinPoints() (source, target []string) {
	return []string{CopyMade, CopySent}, []string{JoinPinned, JoinCopying, JoinCopied, JoinChecked, JoinReplaced}
}

// Points returns the places of the normal work.
func Points() []string {
	return []string{JournalBegin, JournalWritten, JournalSynced, JournalRelease, JournalCut, JournalShort, StoreApplied, StoreCommitted, WriterAnswer,
		Checkpoint, Checkpointed, RunWritten, RunDurable, MergeStep, MergeDurable, RunsReplaced, DedupOpened}
}
