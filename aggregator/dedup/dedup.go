// Package dedup knows the identity of every stored event, exactly and for ever, at a cost that
// stays flat as the store grows.
//
//	batch ─▶ sorted by hash ─▶ memtables ─▶ runs (files), newest first
//	                             │ full: immutable
//	                             └▶ worker: written as a run; eight neighbours merged into one
//
// A run is a file of keys sorted by a secret hash. In memory it has a filter and a sparse index,
// the first hash of each block, about 1.6 bytes a key together. A filter only saves a look: what
// it lets through is read from the file and compared byte for byte, so neither a filter nor a hash
// ever decides that an event is a duplicate. An id of 16 bytes lies there permuted, so that its
// first half is the hash and is not there twice.
//
// The runs hold nothing that the database does not: each covers a range of seq, and can be made
// again from the events in it. The database also holds the list of runs, changed in the
// transactions that store events. So a crash at any moment leaves a list whose files were
// synced before it named them; files that are not on it are removed at the next start, and the
// memtable is read back from the events behind the last run.
//
// Merging is done beside the writer, by one goroutine, smallest first: each key is written once
// when it leaves memory and once for every eightfold growth of the store. A B-tree instead writes,
// for keys in random order, a page a key.
package dedup
