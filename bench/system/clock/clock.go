// Package clock gives one process another time of day, as a machine has whose clock is wrong. The
// program is the one that is shipped, and everybody else on this machine keeps the right time.
//
// The kernel maps code into each process, the vDSO, and Go reads the time by a function in it. That
// function is replaced, in the one process, by one that asks the kernel and adds seconds. So
// time.Now is off, and its monotonic reading is not, as with a clock that somebody sets. What the
// kernel itself dates stays right, such as the times of files, and so does the rate of the clock.
package clock

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// read is the function that is put in the place of the vDSO's: clock_gettime(id, to), for amd64.
var read = []byte{
	0xb8, 228, 0, 0, 0, // mov eax, 228: clock_gettime
	0x0f, 0x05, // syscall
	0x85, 0xff, // test edi, edi: the time of day is clock 0
	0x75, 14, // jne to ret
	0x85, 0xc0, // test eax, eax: it has worked
	0x75, 10, // jne to ret
	0x48, 0x8b, 0x0d, 10, 0, 0, 0, // mov rcx, what stands behind this
	0x48, 0x01, 0x0e, // add [rsi], rcx: the seconds
	0xc3,             // ret
	0, 0, 0, 0, 0, 0, // to a multiple of 8
}

// ErrCannot means that no process on this machine can be given another time.
var ErrCannot = errors.New("clock: the time of a process cannot be changed here")

// Set has the time of day of a process be ahead by whole seconds; less than 0 is behind. The first
// Set is for a process that has not yet run an instruction, later ones for one that runs.
func Set(pid int, ahead time.Duration) error {
	if runtime.GOARCH != "amd64" {
		return fmt.Errorf("%w: it is a machine of %s", ErrCannot, runtime.GOARCH)
	}
	function, err := find(pid)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCannot, err)
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("clock: %w", err)
	}
	defer memory.Close()
	now := make([]byte, len(read))
	if _, err := memory.ReadAt(now, function); err != nil {
		return fmt.Errorf("clock: %w", err)
	}
	seconds := binary.LittleEndian.AppendUint64(nil, uint64(int64(ahead/time.Second)))
	if bytes.Equal(now, read) {
		_, err = memory.WriteAt(seconds, function+int64(len(read)))
	} else {
		_, err = memory.WriteAt(append(bytes.Clone(read), seconds...), function)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCannot, err)
	}
	return nil
}

// find is where the vDSO's function is in a process.
func find(pid int) (at int64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		if !strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			continue
		}
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
			return 0, err
		}
		offset, err := offsetIn(pid, from, to)
		return from + offset, err
	}
	return 0, errors.New("the process has no vDSO")
}

// offsetIn is where the function is in the vDSO, which the process has between two addresses.
func offsetIn(pid int, from, to int64) (int64, error) {
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return 0, err
	}
	defer memory.Close()
	image := make([]byte, to-from)
	if _, err := memory.ReadAt(image, from); err != nil {
		return 0, err
	}
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, err
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return 0, err
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" && s.Size >= uint64(len(read)+8) {
			return int64(s.Value), nil
		}
	}
	return 0, errors.New("the vDSO has no function that is long enough")
}
