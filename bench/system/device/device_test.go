package device

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// holdVariable makes the test binary a program that holds a disk and waits to be killed.
const holdVariable = "SEKALI_TEST_HOLD"

func TestMain(m *testing.M) {
	if image := os.Getenv(holdVariable); image != "" {
		_, err := Open(context.Background(), image, image+"-disk", Limit{MBPerS: 50})
		fmt.Println(err)
		select {}
	}
	os.Exit(m.Run())
}

func needsDevice(t *testing.T) {
	t.Helper()
	if why := Cannot(); why != nil {
		t.Skip("skipped: " + why.Error())
	}
}

// nothingLeft fails if anything of a disk is still there.
func nothingLeft(t *testing.T, image string) {
	t.Helper()
	for _, path := range []string{image, image + "-disk"} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	if loops, err := exec.Command("losetup", "--associated", image).CombinedOutput(); err != nil || len(loops) > 0 {
		t.Errorf("loop devices are left: %s %v", loops, err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), image) {
		t.Errorf("it is still mounted: %v", err)
	}
}

// rules are how many devices the throttle holds.
func rules(t *testing.T) (n int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(throttle, "blkio.throttle.write_bps_device"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "\n")
}

// TestDiskIsHeld: what a disk takes is what it is held to, whichever that is.
func TestDiskIsHeld(t *testing.T) {
	needsDevice(t)
	before := rules(t)
	for _, limit := range []Limit{{MBPerS: 20, OperationsPerS: 300}, {MBPerS: 40, OperationsPerS: 600}} {
		image := filepath.Join(t.TempDir(), "image")
		d, err := Open(t.Context(), image, image+"-disk", limit)
		if err != nil {
			t.Fatal(err)
		}
		if held := rules(t); held != before+1 {
			t.Errorf("%d devices are held, want %d", held, before+1)
		}
		rates, err := Measure(image + "-disk")
		if err != nil {
			t.Error(err)
		}
		within := func(got float64, want int) bool { return got > 0.75*float64(want) && got < 1.25*float64(want) }
		if !within(rates.WriteMBPerS, limit.MBPerS) || !within(rates.OperationsPerS, limit.OperationsPerS) {
			t.Errorf("held to %+v, and took %+v", limit, rates)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		nothingLeft(t, image)
	}
	if held := rules(t); held != before {
		t.Errorf("%d devices are still held, %d were before", held, before)
	}
}

// TestGivenBackInUse: a file that is still open does not keep the disk.
func TestGivenBackInUse(t *testing.T) {
	needsDevice(t)
	image := filepath.Join(t.TempDir(), "image")
	d, err := Open(t.Context(), image, image+"-disk", Limit{OperationsPerS: 1000})
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(image+"-disk", "open"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	file.Close()
	for range 50 { // the device goes with the last file
		if loops, _ := exec.Command("losetup", "--associated", image).Output(); len(loops) == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	nothingLeft(t, image)
}

// TestGivenBackWhenKilled: a lab that is killed leaves nothing behind either.
func TestGivenBackWhenKilled(t *testing.T) {
	needsDevice(t)
	image := filepath.Join(t.TempDir(), "image")
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holdVariable+"="+image)
	output, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 100)
	n, err := output.Read(said)
	if err != nil || string(said[:n]) != "<nil>\n" {
		t.Fatalf("%q, %v", said[:n], err)
	}
	if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil || !strings.Contains(string(mounts), image) {
		t.Errorf("it is not mounted: %v", err)
	}
	_ = holder.Process.Kill()
	_ = holder.Wait()
	for range 100 {
		if _, err := os.Stat(image + "-disk"); errors.Is(err, os.ErrNotExist) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	nothingLeft(t, image)
}

// TestFailureIsSaid: what could not be made says why, and leaves nothing.
func TestFailureIsSaid(t *testing.T) {
	needsDevice(t)
	image := filepath.Join(t.TempDir(), "no such folder", "image")
	if _, err := Open(t.Context(), image, image+"-disk", Limit{MBPerS: 50}); err == nil || !strings.Contains(err.Error(), "No such file") {
		t.Errorf("%v", err)
	}
	nothingLeft(t, image)
}

func TestInRoot(t *testing.T) {
	for text, want := range map[string]bool{
		"7:blkio:/\n0::/\n":                      true,
		"7:blkio:/docker/1a\n0::/\n":             false,
		"3:cpu,cpuacct:/\n7:blkio,net_cls:/\n":   true,
		"0::/user.slice\n":                       false,
		"7:blkio:/user.slice\n3:cpu,cpuacct:/\n": false,
	} {
		if got := inRoot(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
