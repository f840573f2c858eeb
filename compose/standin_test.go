package compose_test

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	// pullTimeout is long for a slow line: an engine that reaches no registry says so at once.
	pullTimeout = 5 * time.Minute
	// importTimeout covers writing a Go toolchain (300 MB) into the engine's storage.
	importTimeout = 5 * time.Minute
)

// buildImage names the image that the Dockerfile builds on: the one it asks for
// where it can be had, and else a stand-in made of this host's Go.
func buildImage(t *testing.T, docker engine) string {
	if _, err := docker.try(time.Minute, "image", "inspect", goImage); err == nil {
		return goImage
	}
	out, err := docker.try(pullTimeout, "pull", goImage)
	if err == nil {
		return goImage
	}
	t.Logf("%s cannot be pulled (%s): building on a stand-in made of this host's Go", goImage, lastLine(out))
	return importStandIn(t, docker)
}

// importStandIn makes an image, for the time of the test, that holds the Go toolchain
// and a module proxy of files, and nothing else: no shell, no C compiler, no way to
// the network needed. It returns its name.
func importStandIn(t *testing.T, docker engine) string {
	standIn := fmt.Sprintf("sekali-build-standin:%d", os.Getpid())
	modules := moduleProxy(t)
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(writeStandIn(writer, goEnv(t, "GOROOT"), modules)) }()
	command := docker.command("import",
		"--change", "ENV PATH=/usr/local/go/bin",
		"--change", "ENV GOPROXY=file:///modules",
		"--change", "ENV GOTOOLCHAIN=local",
		"-", standIn)
	command.Stdin = reader
	if out, err := runBounded(command, importTimeout); err != nil {
		t.Fatalf("docker import: %v\n%s", err, out)
	}
	t.Cleanup(func() { docker.must(t, time.Minute, "image", "rm", standIn) })
	return standIn
}

// moduleProxy downloads what the build needs, from the host's module cache as far
// as that goes, and returns a folder that GOPROXY=file:// can name.
func moduleProxy(t *testing.T) string {
	cache := t.TempDir()
	proxies := "file://" + filepath.Join(goEnv(t, "GOMODCACHE"), "cache", "download") + "," + goEnv(t, "GOPROXY")
	for _, of := range []struct {
		dir  string
		args []string
	}{
		{repository, []string{"mod", "download"}},
		{repository, []string{"list", "-deps", "./cmd/..."}}, // the go.mod files that only loading packages asks for
		{repository + "/sekali-log", []string{"mod", "download"}},
		{repository + "/sekali-log", []string{"list", "-deps", "."}},
	} {
		command := exec.Command("go", of.args...)
		command.Dir = of.dir
		command.Env = append(os.Environ(), "GOMODCACHE="+cache, "GOPROXY="+proxies, "GOFLAGS=-modcacherw", "CGO_ENABLED=0")
		if out, err := runBounded(command, pullTimeout); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	return filepath.Join(cache, "cache", "download")
}

func writeStandIn(w io.Writer, goroot, modules string) error {
	archive := tar.NewWriter(w)
	err := errors.Join(
		archive.WriteHeader(&tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}),
		addTree(archive, goroot, "usr/local/go"),
		addTree(archive, modules, "modules"),
	)
	return errors.Join(err, archive.Close())
}

// addTree adds the folders and regular files under root, as under, but not what only
// tests read: half of a Go toolchain's files, and engines are slow with many.
func addTree(archive *tar.Writer, root, under string) error {
	return filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !(entry.IsDir() || entry.Type().IsRegular()) {
			return err
		}
		if entry.IsDir() && (entry.Name() == "testdata" || name == filepath.Join(root, "test")) {
			return fs.SkipDir
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		header, err := tar.FileInfoHeader(info, "")
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		header.Name = path.Join(under, filepath.ToSlash(relative))
		if err := archive.WriteHeader(header); err != nil || entry.IsDir() {
			return err
		}
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		_, err = io.Copy(archive, file)
		return err
	})
}

func goEnv(t *testing.T, name string) string {
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatalf("go env %s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}
