// Package device makes a disk that is held to so many bytes and operations a second: a file as a
// loop device with a file system of its own, under the block layer's throttle.
package device

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// hold makes the disk and gives it back. It is a process of its own, so that nothing is left behind
// when this one is killed.
//
//go:embed hold.sh
var hold string

const (
	// imageBytes is how large the disk is. The file has holes: only what was written takes room.
	imageBytes = 32 << 30
	// throttle is the root of the control groups of v1 that hold devices. The limit is set there,
	// since the kernel writes pages back in the root's name: in a group below, what the aggregator
	// leaves to the kernel would go past it.
	throttle = "/sys/fs/cgroup/blkio"
	// makeTimeout and giveBackTimeout bound what takes a second as a rule.
	makeTimeout     = 60 * time.Second
	giveBackTimeout = 60 * time.Second
)

// Limit is of reading and of writing, each for itself; 0: none.
type Limit struct {
	MBPerS         int // of 10⁶ bytes
	OperationsPerS int
}

// Device is a disk that is held to a limit. Close gives it back.
type Device struct {
	command *exec.Cmd
	input   io.Closer
	said    *bytes.Buffer // on standard error; read it after the end only
}

// Cannot says why this machine has no such disk; nil: it can be made.
func Cannot() error {
	if os.Getuid() != 0 {
		return errors.New("a disk that is held to a rate needs root")
	}
	for _, program := range []string{"sh", "losetup", "mkfs.ext4", "mount", "mountpoint"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not installed", program)
		}
	}
	loops, err := os.Open("/dev/loop-control")
	if err != nil {
		return errors.New("there are no loop devices here")
	}
	loops.Close()
	if _, err := os.Stat(filepath.Join(throttle, "blkio.throttle.write_bps_device")); err != nil {
		return errors.New("there is no blkio throttle here: it is of control groups v1")
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	if !inRoot(string(own)) {
		return errors.New("the lab is in a blkio group of its own, and the limit has to be set on the root")
	}
	return nil
}

// inRoot reads what /proc/PID/cgroup says.
func inRoot(groups string) bool {
	for line := range strings.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 && strings.Contains(","+parts[1]+",", ",blkio,") {
			return parts[2] == "/"
		}
	}
	return false
}

// Open makes the disk as a file and mounts it at a folder, which it makes.
func Open(ctx context.Context, image, folder string, limit Limit) (*Device, error) {
	command := exec.Command("sh", "-c", hold, "hold.sh", image, strconv.FormatInt(imageBytes, 10), folder, throttle,
		strconv.FormatInt(int64(limit.MBPerS)*1e6, 10), strconv.Itoa(limit.OperationsPerS))
	d, output, err := start(command)
	if err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	held := make(chan bool, 1)
	go func() {
		line, _ := bufio.NewReader(output).ReadString('\n')
		held <- line == "held\n"
	}()
	timeout := time.NewTimer(makeTimeout)
	defer timeout.Stop()
	select {
	case ok := <-held:
		if ok {
			return d, nil
		}
		return nil, errors.Join(errors.New("device: it could not be made"), d.Close())
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), d.Close())
	case <-timeout.C:
		return nil, errors.Join(fmt.Errorf("device: it was not made within %s", makeTimeout), d.Close())
	}
}

// start runs what makes the disk, and gives what it says.
func start(command *exec.Cmd) (*Device, io.Reader, error) {
	// A group of its own keeps the terminal's ctrl-C from it.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.WaitDelay = time.Second // what it has started may hold its standard error
	d := &Device{command: command, said: &bytes.Buffer{}}
	command.Stderr = d.said
	input, err := command.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	d.input = input
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	return d, output, command.Start()
}

// Close unmounts the disk, takes the limit away, and removes its file. It returns when all is done.
func (d *Device) Close() error {
	d.input.Close()
	kill := time.AfterFunc(giveBackTimeout, func() { _ = d.command.Process.Kill() })
	defer kill.Stop()
	if err := d.command.Wait(); err != nil {
		return fmt.Errorf("device: %w: %s", err, bytes.TrimSpace(d.said.Bytes()))
	}
	return nil
}
