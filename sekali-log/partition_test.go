package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// network is a network namespace for each server, on one bridge: what the switch between three
// machines is.
type network struct {
	t      *testing.T
	prefix string // of the names, which have at most 15 characters
}

// newNetwork skips the test where namespaces or a bridge may not be made. It has addresses
// 10.213.X.1 for this process and 10.213.X.11 and on for the servers.
func newNetwork(t *testing.T, c *cluster) *network {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("skipped: network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("skipped: ip is not installed")
	}
	n := &network{t, fmt.Sprintf("sl%d", os.Getpid()%100_000)}
	subnet := fmt.Sprintf("10.213.%d.", os.Getpid()%250)
	hub, here := n.prefix+"h", n.prefix+"u"
	t.Cleanup(func() {
		for _, space := range []string{hub, n.space(0), n.space(1), n.space(2)} {
			exec.Command("ip", "netns", "del", space).Run()
		}
	})
	// The bridge is in a namespace, too: in this one a firewall may drop what it forwards.
	in := func(space string) string { return "-n " + space + " " }
	commands := []string{"netns add " + hub, in(hub) + "link add bridge type bridge", in(hub) + "link set bridge up",
		"link add " + here + " type veth peer name here netns " + hub, in(hub) + "link set here master bridge up",
		"addr add " + subnet + "1/24 dev " + here, "link set " + here + " up"}
	for i, m := range c.servers {
		space, host := n.space(i), fmt.Sprintf("%s%d", subnet, 11+i)
		commands = append(commands, "netns add "+space, in(hub)+"link add "+n.wire(i)+" type veth peer name wire netns "+space,
			in(hub)+"link set "+n.wire(i)+" master bridge up", in(space)+"addr add "+host+"/24 dev wire",
			in(space)+"link set wire up", in(space)+"link set lo up")
		m.listen, m.route = host+":4222", host+":6222"
		m.under = []string{"ip", "netns", "exec", space}
		c.routes[i] = m.route
	}
	c.extra = append(c.extra, "-insecure")
	for _, command := range commands {
		if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
			t.Skipf("skipped: ip %s: %v %s", command, err, out)
		}
	}
	return n
}

func (n *network) space(i int) string { return fmt.Sprintf("%sn%d", n.prefix, i) }
func (n *network) wire(i int) string  { return fmt.Sprintf("wire%d", i) }

// plug connects a server to the bridge, or cuts it off: what it sends then goes nowhere,
// unanswered.
func (n *network) plug(i int, in bool) {
	n.t.Helper()
	if out, err := exec.Command("ip", "-n", n.prefix+"h", "link", "set", n.wire(i), map[bool]string{true: "up", false: "down"}[in]).CombinedOutput(); err != nil {
		n.t.Errorf("ip link set: %v %s", err, out)
	}
}

// TestPartition: the leader is cut off without a word, for longer than an election. The other two
// go on, and afterwards all three have the same.
func TestPartition(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: short")
	}
	c := newCluster(t)
	network := newNetwork(t, c)
	nc, js, stream := c.startAll().ready()
	stop := sending(t, js)
	time.Sleep(time.Second)
	before := c.filled(stream, 0).State.Msgs
	isolated := c.leader(stream)
	cut := time.Now()
	network.plug(slices.Index(c.servers, isolated), false)
	c.within(2*electionBound, "an acknowledgement by the other two", func() bool {
		info := c.info(stream)
		return info != nil && info.Cluster.Leader != isolated.identityNow() && info.State.Msgs > before+20
	})
	t.Logf("acknowledged again within %v", time.Since(cut).Round(time.Millisecond))
	time.Sleep(time.Until(cut.Add(20 * time.Second)))
	network.plug(slices.Index(c.servers, isolated), true)
	c.healed(stream)
	sent := stop()
	t.Logf("%d acknowledged, the longest pause was %v", len(sent.acknowledged), sent.longest.Round(time.Millisecond))
	if len(sent.acknowledged) < 50 || sent.longest > 2*electionBound {
		t.Errorf("%d acknowledged, the longest pause was %v", len(sent.acknowledged), sent.longest)
	}
	for _, m := range c.servers {
		sent.check(t, m.name, c.held(nc, stream, m), 0)
	}
	for _, m := range c.servers {
		m.end(syscall.SIGKILL)
	}
}
