package machine

import (
	"testing"
)

func TestAffinity(t *testing.T) {
	if got := affinity("Name:\tbench\nCpus_allowed:\t3\nCpus_allowed_list:\t0-1,5\n"); got != "0-1,5" {
		t.Errorf("%q", got)
	}
	if got := affinity("Name:\tbench\n"); got != "" {
		t.Errorf("%q", got)
	}
}

func TestCores(t *testing.T) {
	for _, test := range []struct {
		lists []string
		want  string
	}{{[]string{"0-1,5"}, "0-1,5"}, {[]string{"3", "0-1", "1-2"}, "0-3"}, {[]string{"7", "7"}, "7"}} {
		cores, err := Cores(test.lists...)
		if got := List(cores); err != nil || got != test.want {
			t.Errorf("%v: %q, %v", test.lists, got, err)
		}
	}
	for _, bad := range []string{"", "a", "3-1", "-1", "0-", "0-99999999"} {
		if cores, err := Cores(bad); err == nil {
			t.Errorf("%q: %v", bad, cores)
		}
	}
}
