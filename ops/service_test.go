package ops_test

import (
	"os"
	"strings"
	"testing"
)

// TestStartedUntilItWorks: what ends because its disk is full ends again at each start, and goes on
// by itself once there is room. By default systemd gives up after five starts in 10 s.
func TestStartedUntilItWorks(t *testing.T) {
	for _, unit := range []string{"sekali.service", "sekali-log.service"} {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		head, rest, _ := strings.Cut(string(text), "\n[Service]\n")
		if !strings.Contains(head, "\nStartLimitIntervalSec=0\n") || !strings.Contains(rest, "\nRestart=on-failure\n") {
			t.Errorf("%s is not started again for as long as it fails", unit)
		}
		// 2 is a setting that has to be changed. It is a panic too: Go's runtime ends so.
		if strings.Contains(rest, "\nRestartPreventExitStatus=") {
			t.Errorf("%s is not started again after a panic", unit)
		}
	}
}

// TestStartIsNotCutOff: after a restore a start may take an hour, and one that was ended begins
// anew. Who kills what is unhealthy, as Swarm does, ends it like a time limit.
func TestStartIsNotCutOff(t *testing.T) {
	for file, line := range map[string]string{"sekali.service": "\nTimeoutStartSec=infinity\n", "../Dockerfile": " --start-period=1h "} {
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), line) {
			t.Errorf("%s: a start has a time limit, %v", file, err)
		}
	}
}
