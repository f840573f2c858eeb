package device

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	// measureTime is how long each of the two rates is measured. The throttle reckons in tenths of a
	// second, and lets a tenth's worth through at once.
	measureTime = 1500 * time.Millisecond
	// Large writes find the bytes' limit, and small ones the operations'.
	largeWrite, smallWrite = 1 << 20, 4 << 10
	// writers write at once, each to a part of its own: a disk takes long for one at a time.
	writers   = 16
	partBytes = 16 << 20
	alignment = 4 << 10 // of what is written past the page cache
)

// Rates are what a disk took.
type Rates struct {
	WriteMBPerS    float64
	OperationsPerS float64
}

// Measure writes to a file in a folder, past the page cache, and removes it.
func Measure(folder string) (rates Rates, err error) {
	file, err := os.OpenFile(filepath.Join(folder, "rates"), os.O_CREATE|os.O_EXCL|os.O_WRONLY|syscall.O_DIRECT, 0o600)
	if err != nil {
		return rates, fmt.Errorf("device: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	bytesPerS, _, err := write(file, largeWrite)
	if err != nil {
		return rates, err
	}
	_, perS, err := write(file, smallWrite)
	return Rates{WriteMBPerS: bytesPerS / 1e6, OperationsPerS: perS}, err
}

// write writes blocks of a size for so long and says how many bytes and blocks a second that were.
func write(file *os.File, size int) (bytesPerS, perS float64, err error) {
	var blocks atomic.Int64
	var group sync.WaitGroup
	failed := make(chan error, writers)
	began := time.Now()
	for writer := range writers {
		group.Go(func() {
			block, at := aligned(size), 0
			for time.Since(began) < measureTime {
				if _, err := file.WriteAt(block, int64(writer*partBytes+at)); err != nil {
					failed <- fmt.Errorf("device: %w", err)
					return
				}
				blocks.Add(1)
				at = (at + size) % partBytes
			}
		})
	}
	group.Wait()
	took := time.Since(began).Seconds()
	select {
	case err = <-failed:
	default:
	}
	return float64(blocks.Load()) * float64(size) / took, float64(blocks.Load()) / took, err
}

// aligned is memory that can be written past the page cache.
func aligned(size int) []byte {
	memory := make([]byte, size+alignment)
	at := alignment - int(uintptr(unsafe.Pointer(&memory[0]))%alignment)
	return memory[at : at+size]
}
