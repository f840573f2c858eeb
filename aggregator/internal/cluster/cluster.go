// Package cluster keeps several aggregators at the same events by one replicated log.
//
//	publisher ─▶ journal, the outbox ─▶ the log ─▶ every node reads it, in one order ─▶ its own store
//
// Goal: the nodes agree on every decision and every seq without a protocol of their own. The log
// orders, and keeps copies; each node applies it by itself.
//
// Invariants:
//
//   - What a node does with a message is a function of the messages before it, and of nothing else:
//     no clock, no batch and no flag of the node decides.
//   - The position, what it led to, the sessions and the hash are one transaction of the store.
//   - Messages are read without a gap, which the reader checks itself, or the node halts.
//   - A frame is kept in the outbox until it is in this node's store and in another one's.
//
// The log is trusted for order and for being there, never to be the only copy of an event that was
// acknowledged.
package cluster

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
)

// Session is a life of a process, in which it numbers its frames.
type Session [16]byte

// NewSession returns a session that nobody else has.
func NewSession() (s Session) {
	_, _ = rand.Read(s[:]) // it never fails
	return s
}

func (s Session) String() string { return hex.EncodeToString(s[:]) }

func parseSession(text string) (s Session, err error) {
	return s, parseHex(s[:], text)
}

func parseHex(to []byte, text string) error {
	b, err := hex.DecodeString(text)
	if err == nil && len(b) != len(to) {
		err = fmt.Errorf("%d bytes, want %d", len(b), len(to))
	}
	copy(to, b)
	return err
}

// ErrHalted is wrapped by everything after which a node must not go on by itself: it would differ
// from the others, or the log has lost what was acknowledged. A person decides.
var ErrHalted = errors.New("this replica has halted")

// halt is an ErrHalted with its reason.
func halt(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrHalted, fmt.Errorf(format, args...))
}
