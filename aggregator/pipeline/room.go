package pipeline

import "fmt"

const (
	// RoomPerByte is what a journaled byte takes until it is settled, beside the journal: 1.15 in the database, as much in the WAL until that
	// is copied, and its key in a run, twice while runs are merged (figures of a backlog of 42 000 events of 231 bytes).
	RoomPerByte = 3
	// RoomLeast stays free whatever waits: a WAL of calmCheckpointPages, which a checkpoint needs twice.
	RoomLeast = 8 << 20
	// readyBytes is how large a request must still fit for the pipeline to be ready: where none of usual size does, it is not.
	readyBytes = 1 << 20
)

// noRoom says why nothing more is taken: what waits in the journal would not fit into the store any more. A backlog that has filled the disk
// could never be committed, so its segments would never be removed, and somebody would have to make room. mu is held.
func (p *Pipeline) noRoom(bytes int64) error {
	wanted := RoomPerByte*(p.counters.BacklogBytes+p.pendingBytes+bytes) + RoomLeast
	if p.free < wanted {
		p.lookForRoom() // there may be some again
	}
	if p.free < wanted {
		return fmt.Errorf("%w: %d bytes are free, %d wait in the journal", ErrDiskFull, p.free, p.counters.BacklogBytes)
	}
	return nil
}

// lookForRoom asks the disk. Where that fails, what it said before stands: a disk that cannot be asked fails its writes too. mu is held.
func (p *Pipeline) lookForRoom() {
	free, err := p.journal.Free()
	if err != nil {
		p.log.Warn("how much room the disk has is not known", "error", err)
		return
	}
	p.free = free
}
