package ops_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// release makes what is published for this machine's platform, and returns its folder.
func release(t *testing.T, tree string) string {
	t.Helper()
	run(t, tree, "make", "release", "VERSION=v1.2.3-4-gabc", "PLATFORMS=linux/"+runtime.GOARCH, "SOURCE_DATE_EPOCH=1790000000")
	return filepath.Join(tree, "bin", "release")
}

// TestRelease: two builds of one tree are the same bytes, and hold the programs, what runs them as
// a service, and completions.
func TestRelease(t *testing.T) {
	need(t, "git", "make", "tar", "sha256sum", "dpkg", "dpkg-deb")
	if runtime.GOOS != "linux" {
		t.Skip("skipped: packages are made and tested on Linux")
	}
	tree, _ := copyTree(t)
	sums := text(t, release(t, tree), "SHA256SUMS")
	elsewhere := filepath.Join(t.TempDir(), "a folder of another name")
	if err := os.Rename(tree, elsewhere); err != nil {
		t.Fatal(err)
	}
	dir := release(t, elsewhere)
	if again := text(t, dir, "SHA256SUMS"); again != sums {
		t.Errorf("two builds differ:\n%s\n%s", sums, again)
	}
	run(t, dir, "sha256sum", "--check", "--quiet", "SHA256SUMS")
	name := "sekali-v1.2.3-4-gabc-linux-" + runtime.GOARCH
	for _, file := range []string{name + ".tar.gz", name + "-aggregator.cdx.json", name + "-loadgen.cdx.json", name + "-sekali-log.cdx.json", "sekali_1.2.3+4+gabc_" + runtime.GOARCH + ".deb"} {
		if !strings.Contains(sums, "  "+file+"\n") {
			t.Errorf("SHA256SUMS has no %s", file)
		}
	}
	if sbom := text(t, dir, name+"-aggregator.cdx.json"); !strings.Contains(sbom, "modernc.org/sqlite") {
		t.Error("the SBOM does not know SQLite")
	}
	run(t, dir, "tar", "-xzf", name+".tar.gz")
	for _, program := range []string{"aggregator", "loadgen"} {
		if out := run(t, dir, filepath.Join(dir, name, program), "--version"); out != program+" v1.2.3-4-gabc\n" {
			t.Errorf("%s says %q", program, out)
		}
		text(t, dir, name+"/completions/"+program)
	}
	if out := run(t, dir, filepath.Join(dir, name, "sekali-log"), "--version"); !strings.HasPrefix(out, "sekali-log v1.2.3-4-gabc nats-server ") {
		t.Errorf("sekali-log says %q", out)
	}
	text(t, dir, name+"/ops/sekali.service")
	text(t, dir, name+"/ops/sekali-log.service")
	t.Run("package", func(t *testing.T) { testPackage(t, filepath.Join(dir, "sekali_1.2.3+4+gabc_"+runtime.GOARCH+".deb")) })
}

// testPackage installs a package into a folder, runs what is in it, and removes it again.
func testPackage(t *testing.T, deb string) {
	if info := run(t, ".", "dpkg-deb", "-I", deb); !strings.Contains(info, "Package: sekali\n") || !strings.Contains(info, "Version: 1.2.3+4+gabc\n") {
		t.Errorf("dpkg-deb -I: %s", info)
	}
	for line := range strings.Lines(run(t, ".", "dpkg-deb", "-c", deb)) {
		if fields := strings.Fields(line); fields[1] != "root/root" || strings.Contains(fields[0][4:], "w") {
			t.Errorf("not root's alone to write: %s", line)
		}
	}
	root := t.TempDir()
	for _, dir := range []string{"var/lib/dpkg/updates", "var/lib/dpkg/info", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"var/lib/dpkg/status", "etc/passwd", "etc/group"} {
		if err := os.WriteFile(filepath.Join(root, file), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dpkg := func(args ...string) string {
		return run(t, ".", "dpkg", append([]string{"--root=" + root, "--force-script-chrootless", "--force-not-root"}, args...)...)
	}
	dpkg("-i", deb)
	if out := run(t, root, "usr/bin/aggregator", "--version"); out != "aggregator v1.2.3-4-gabc\n" {
		t.Errorf("it says %q", out)
	}
	if user := text(t, root, "etc/passwd"); !regexp.MustCompile(`(?m)^sekali:x:\d+:\d+:.*:/var/lib/sekali:/usr/sbin/nologin$`).MatchString(user) {
		t.Errorf("the users are %q", user)
	}
	unit := text(t, root, "usr/lib/systemd/system/sekali.service")
	if !strings.Contains(unit, "\nUser=sekali\n") || !strings.Contains(unit, "-config /etc/sekali/aggregator.conf\n") || !strings.Contains(text(t, root, "etc/sekali/aggregator.conf"), "\ndata = /var/lib/sekali\n") {
		t.Errorf("the unit is %s", unit)
	}
	if tool, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Log("skipped: there is no systemd-analyze")
	} else {
		verified := filepath.Join(t.TempDir(), "sekali.service")
		unit = strings.ReplaceAll(unit, "/usr/bin/aggregator", filepath.Join(root, "usr/bin/aggregator"))
		if err := os.WriteFile(verified, []byte(unit), 0o600); err != nil {
			t.Fatal(err)
		}
		if out := run(t, ".", tool, "verify", "--man=no", verified); strings.Contains(out, "sekali.service:") {
			t.Errorf("systemd-analyze verify: %s", out)
		}
	}
	// What its owner changed stays until a purge.
	settings := filepath.Join(root, "etc/sekali/aggregator.conf")
	if err := os.WriteFile(settings, []byte("data = /srv/events\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	dpkg("-i", deb)
	dpkg("-r", "sekali")
	if text(t, root, "etc/sekali/aggregator.conf") != "data = /srv/events\n" {
		t.Error("the settings were overwritten")
	}
	dpkg("-P", "sekali")
	for _, path := range []string{settings, filepath.Join(root, "usr/bin/aggregator")} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
}
