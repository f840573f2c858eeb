// Package faults does to an aggregator what befalls processes, disks and files, and records what
// was sent, what was answered and what is stored afterwards. What that comes to is computed from
// the record alone, by bench/figures.
//
// A new kind of fault is a row of the catalogue and a function in one of the inject files.
package faults

import (
	"sekali/bench/record"
)

// Kind is one kind of fault.
type Kind struct {
	Name    string // of the row in the table
	Injects string // what is done, in a sentence
	Promise string // record.NothingLost and its like
	Tells   string // record.TellsRefusals and its like
	Short   int    // how often in a test
	Long    int    // how often in `make faults`

	inject func(s *sitting) error
}

// Control reports that the fault must lose something: else the others' zeros would show nothing.
func (k Kind) Control() bool { return k.Promise == control || k.Promise == caught }

const (
	nothingLost = record.NothingLost
	control     = record.SomethingLost
	damages     = record.PrefixOrRefuse
	caught      = record.MustBeCaught
)

// Catalogue is every kind, in the order of the table.
func Catalogue() []Kind {
	kinds := []Kind{
		{Name: "SIGKILL at a random moment", Injects: "SIGKILL 20 to 320 ms after it is ready, again and again on one folder",
			Promise: nothingLost, Short: 5, Long: 200, inject: killed},
		{Name: "SIGKILL at ack=memory", Injects: "the same at a level that promises nothing",
			Promise: control, Short: 1, Long: 10, inject: killedAtMemory},
	}
	for _, place := range CrashPoints() {
		kinds = append(kinds, Kind{Name: "crash at " + place, Injects: "SIGKILL when the code passes this place for the n-th time",
			Promise: nothingLost, Short: 2, Long: 7, inject: crashAt(place)})
	}
	kinds = append(kinds,
		Kind{Name: "crash at " + crashExpiring, Injects: "SIGKILL while events expire; all is published again, and must be duplicates",
			Promise: nothingLost, Short: 2, Long: 5, inject: crashedExpiring},
		Kind{Name: "crash at " + crashMigrating, Injects: "SIGKILL while a database of an older version is taken forward, once for each of them",
			Promise: nothingLost, Short: 1, Long: 1, inject: crashedMigrating},
		Kind{Name: "power loss", Injects: "the process is stopped, its file system shut down without a flush, and mounted again",
			Promise: nothingLost, Short: 2, Long: 30, inject: powerLoss},
		Kind{Name: "power loss, fsync left out", Injects: "the same of a build that leaves every fsync out",
			Promise: control, Short: 1, Long: 3, inject: powerLossUnsynced},
	)
	kinds = append(kinds, imageKinds()...)
	kinds = append(kinds,
		Kind{Name: "fsync fails with EIO", Injects: "strace lets every fsync and fdatasync fail for a while",
			Promise: nothingLost, Tells: record.TellsRefusals, Short: 1, Long: 5, inject: fsync("error=EIO", true)},
		Kind{Name: "fsync takes 200 ms", Injects: "strace lets every fsync and fdatasync wait for a while",
			Promise: nothingLost, Tells: record.TellsRefusals, Short: 1, Long: 5, inject: fsync("delay_enter=200000", false)},
		Kind{Name: "the disk is full of events", Injects: "a disk of 16 MB is filled by what is published, and made larger",
			Promise: nothingLost, Tells: record.TellsRefusals, Short: 1, Long: 5, inject: diskFull(growDisk)},
		Kind{Name: "others fill the disk", Injects: "a foreign file fills a disk of 16 MB, and is removed",
			Promise: nothingLost, Tells: record.TellsRefusals, Short: 1, Long: 5, inject: diskFull(foreignFile)},
		Kind{Name: "a backlog fills the disk", Injects: "events of 1 MB are published to a disk of 16 MB while a foreign transaction holds the database",
			Promise: nothingLost, Short: 1, Long: 5, inject: backlogFillsDisk},
		Kind{Name: "a foreign BEGIN IMMEDIATE", Injects: "another process's transaction holds the database for 10 s",
			Promise: nothingLost, Short: 1, Long: 2, inject: foreignLock},
		Kind{Name: "a foreign reader holds a snapshot", Injects: "another process's read transaction keeps the WAL from being given back",
			Promise: nothingLost, Tells: record.TellsRefusals, Short: 1, Long: 1, inject: snapshotHeld},
	)
	kinds = append(kinds, damageKinds()...)
	return append(kinds,
		Kind{Name: "events changed where no checksum is", Injects: "one event is removed, one stored twice, one changed, so that every counter fits",
			Promise: control, Tells: record.TellsCounts, Short: 1, Long: 1, inject: changedUnchecked},
		Kind{Name: "SIGSTOP", Injects: "the process is stopped for 10 s and goes on",
			Promise: nothingLost, Short: 1, Long: 3, inject: stopped},
		Kind{Name: "SIGTERM under load", Injects: "SIGTERM while publishers send at all levels and silent connections are open",
			Promise: nothingLost, Short: 1, Long: 10, inject: stoppedUnderLoad},
		Kind{Name: "replies dropped after the commit", Injects: "a proxy passes on the requests and none of their answers",
			Promise: nothingLost, Short: 200, Long: 1000, inject: repliesDropped},
		Kind{Name: "overload, at least 5 x", Injects: "64 publishers send to a writer that commits one event at a time",
			Promise: nothingLost, Tells: record.TellsOverload, Short: 1, Long: 1, inject: overload},
		Kind{Name: "64 file descriptors", Injects: "a limit of descriptors, and idle connections that take them away",
			Promise: nothingLost, Short: 1, Long: 1, inject: descriptors},
		Kind{Name: "memory limited to 24 MB", Injects: "a cgroup's limit, at which the kernel kills the process",
			Promise: nothingLost, Short: 1, Long: 5, inject: memory},
	)
}

// The places of a build with -tags sekali_crash; a test of integration compares them with the
// build's own.
const (
	crashExpiring  = "store.expiring"
	crashMigrating = "store.migrating"
)

// CrashPoints are the places that normal work passes.
func CrashPoints() []string {
	return []string{"journal.begin", "journal.written", "journal.synced", "journal.release", "journal.cut", "journal.short", "store.applied",
		"store.committed", "writer.answer", "checkpoint", "checkpointed", "run.written", "run.durable", "merge.step", "merge.durable",
		"runs.replaced", "dedup.opened"}
}

// passedAtStart are those that only a start passes, once.
var passedAtStart = map[string]bool{"journal.cut": true, "journal.short": true, "dedup.opened": true}
