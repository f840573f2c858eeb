package store

import (
	"fmt"

	"sekali/internal/sqlite"
)

// unpackingsInHand is how many blocks are unpacked at once, beside who reads them in their order.
const unpackingsInHand = 4

// unpacking is a block on its way to being read. Between begin and await it belongs to who unpacks.
type unpacking struct {
	unpacker sqlite.Unpacker
	copy     []byte // of a block, which SQLite has until its next row
	plain    plainBlock
	err      error
	panicked any           // what the unpacking has panicked with; nil: it has not
	done     chan struct{} // nil: none is under way
}

// begin unpacks b beside the caller.
func (u *unpacking) begin(b storedBlock) {
	u.copy = append(append(u.copy[:0], b.directory...), b.data...)
	b.directory, b.data = view(u.copy[:len(b.directory)]), view(u.copy[len(b.directory):])
	u.panicked, u.done = nil, make(chan struct{})
	go func() {
		defer close(u.done)
		defer func() { u.panicked = recover() }() // await panics with it
		u.plain, u.err = b.unpack(&u.unpacker)
	}()
}

// await waits for the block, which is valid until the next begin.
func (u *unpacking) await() (plainBlock, error) {
	<-u.done
	if u.done = nil; u.panicked != nil {
		panic(u.panicked)
	}
	return u.plain, u.err
}

// unpackings are those in hand, in the order in which they were begun.
type unpackings struct {
	all  [unpackingsInHand]unpacking
	next int // which begins next; where one is under way, it is the oldest
}

// add begins another, and hands on the oldest where all are in hand.
func (u *unpackings) add(b storedBlock, to func(plainBlock) error) error {
	if err := u.handOn(to); err != nil {
		return err
	}
	u.all[u.next].begin(b)
	u.next = (u.next + 1) % unpackingsInHand
	return nil
}

// handOn hands on the one whose place is next, if it is under way.
func (u *unpackings) handOn(to func(plainBlock) error) error {
	oldest := &u.all[u.next]
	if oldest.done == nil {
		return nil
	}
	b, err := oldest.await()
	if err != nil {
		return fmt.Errorf("block %d: %w", b.first, err)
	}
	return to(b)
}

// end hands on all that are left, in their order.
func (u *unpackings) end(to func(plainBlock) error) error {
	for range unpackingsInHand {
		if err := u.handOn(to); err != nil {
			return err
		}
		u.next = (u.next + 1) % unpackingsInHand
	}
	return nil
}

// abandon waits for what an error has left under way.
func (u *unpackings) abandon() {
	for i := range u.all {
		if done := u.all[i].done; done != nil {
			<-done
		}
	}
}
