package cluster

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// unheard is after how long an address counts as one that does not answer.
const unheard = 300 * time.Millisecond

// lab is who is on no machine.
const lab = -1

// reaches reports that a machine, or the lab, can connect to a port of a machine.
func (n *Network) reaches(from, to, port int) bool {
	address := net.JoinHostPort(n.host(to), strconv.Itoa(port))
	if from == lab {
		conn, err := net.DialTimeout("tcp", address, unheard)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	return exec.Command("ip", "netns", "exec", n.space(from), os.Args[0], "reach", address).Run() == nil
}

// TestCuts: each way to cut a machine off takes what it says, and no more, until it is healed.
func TestCuts(t *testing.T) {
	if err := CannotNetwork(); err != nil {
		t.Skip("skipped: ", err)
	}
	t.Setenv(behave, "well")
	network, err := NewNetwork(3)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	}()
	wanted := config(t)
	wanted.Network = network
	c, err := Start(t.Context(), wanted)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Kill()
	const log, node = 4222, 8080
	plug := func(in bool) func(*Network, int) error { return func(n *Network, i int) error { return n.Plug(i, in) } }
	for name, test := range map[string]struct {
		cut, heal func(*Network, int) error
		reached   map[[3]int]bool // from, to, port, where machine 1 is cut off
	}{
		"unplugged": {plug(false), plug(true), map[[3]int]bool{{lab, 1, node}: false, {0, 1, log}: false, {1, 0, log}: false, {0, 2, log}: true}},
		"deaf":      {(*Network).Deaf, (*Network).Heal, map[[3]int]bool{{lab, 1, node}: true, {0, 1, node}: false, {0, 2, log}: true}},
		"apart": {(*Network).Apart, (*Network).Heal, map[[3]int]bool{{lab, 1, node}: true, {0, 1, node}: false, {0, 1, log}: false,
			{1, 0, log}: false, {1, 1, log}: true, {0, 2, log}: true}},
		"estranged from the next": {(*Network).Estranged, (*Network).Heal, map[[3]int]bool{{lab, 1, node}: true, {1, 2, log}: false, {2, 1, log}: false,
			{1, 0, log}: true, {0, 1, log}: true, {0, 2, log}: true}},
		"its log server apart":        {(*Network).LogApart, (*Network).Heal, map[[3]int]bool{{0, 1, log}: false, {0, 1, node}: true, {1, 0, log}: true, {1, 1, log}: true}},
		"its aggregator from the log": {(*Network).WithoutLog, (*Network).Heal, map[[3]int]bool{{1, 0, log}: false, {1, 1, log}: false, {0, 1, log}: true, {lab, 1, node}: true}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := test.cut(network, 1); err != nil {
				t.Fatal(err)
			}
			for way, want := range test.reached {
				if got := network.reaches(way[0], way[1], way[2]); got != want {
					t.Errorf("from %d to port %d of %d: reached %v", way[0], way[2], way[1], got)
				}
			}
			if err := test.heal(network, 1); err != nil {
				t.Fatal(err)
			}
			for way := range test.reached {
				for end := time.Now().Add(10 * time.Second); !network.reaches(way[0], way[1], way[2]); {
					if time.Now().After(end) {
						t.Fatalf("healed, from %d to port %d of %d: not reached", way[0], way[2], way[1])
					}
				}
			}
		})
	}
}
