package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Network is a network namespace for each machine, on one bridge: what a switch between machines
// is. It is made as root.
type Network struct {
	prefix, subnet string
	machines       int
}

// NewNetwork makes a network, until it is closed. The error says why none can be made here.
func NewNetwork(machines int) (*Network, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return nil, errors.New("ip is not installed")
	}
	// Names of interfaces have at most 15 characters.
	n := &Network{fmt.Sprintf("sk%d", os.Getpid()%100_000), fmt.Sprintf("10.214.%d.", os.Getpid()%250), machines}
	hub, here := n.hub(), n.here()
	// The bridge is in a namespace, too: in this one a firewall may drop what it forwards.
	commands := []string{"netns add " + hub, "-n " + hub + " link add bridge type bridge", "-n " + hub + " link set bridge up",
		"link add " + here + " type veth peer name here netns " + hub, "-n " + hub + " link set here master bridge up",
		"addr add " + n.subnet + "1/24 dev " + here, "link set " + here + " up"}
	for i := range machines {
		space := n.space(i)
		commands = append(commands, "netns add "+space, "-n "+hub+" link add "+n.wire(i)+" type veth peer name wire netns "+space,
			"-n "+hub+" link set "+n.wire(i)+" master bridge up", "-n "+space+" addr add "+n.host(i)+"/24 dev wire",
			"-n "+space+" link set wire up", "-n "+space+" link set lo up")
	}
	for _, command := range commands {
		if err := ip(command); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	return n, nil
}

// CannotNetwork says why no network can be made here, and cut; nil: it can.
func CannotNetwork() error {
	n, err := NewNetwork(1)
	if err != nil {
		return err
	}
	return errors.Join(n.WithoutLog(0), n.Close())
}

func ip(command string) error {
	if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w %s", command, err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (n *Network) hub() string          { return n.prefix + "h" }
func (n *Network) here() string         { return n.prefix + "u" }
func (n *Network) space(i int) string   { return fmt.Sprintf("%sn%d", n.prefix, i) }
func (n *Network) wire(i int) string    { return fmt.Sprintf("wire%d", i) }
func (n *Network) host(i int) string    { return fmt.Sprintf("%s%d", n.subnet, 11+i) }
func (n *Network) under(i int) []string { return []string{"ip", "netns", "exec", n.space(i)} }

// Plug connects a machine to the others, or cuts it off: what it sends then goes nowhere,
// unanswered.
func (n *Network) Plug(i int, in bool) error {
	return ip("-n " + n.hub() + " link set " + n.wire(i) + " " + map[bool]string{true: "up", false: "down"}[in])
}

// Deaf has a machine hear nothing of the other log servers, while they hear it.
func (n *Network) Deaf(i int) error { return n.rules(i, "ip saddr "+n.others(i)+" drop", "") }

// Apart has a machine and the other ones hear nothing of each other. Whoever is on none of them
// still reaches it.
func (n *Network) Apart(i int) error {
	return n.rules(i, "ip saddr "+n.others(i)+" drop", "ip daddr "+n.others(i)+" drop")
}

// Estranged has a machine and the next one hear nothing of each other. The others hear both.
func (n *Network) Estranged(i int) error {
	next := n.host((i + 1) % n.machines)
	return n.rules(i, "ip saddr "+next+" drop", "ip daddr "+next+" drop")
}

// LogApart has a machine's log server and the other machines hear nothing of each other. Its
// aggregator reaches their log servers.
func (n *Network) LogApart(i int) error {
	return n.rules(i, `iifname "wire" tcp dport { 4222, 6222 } drop; iifname "wire" tcp sport 6222 drop`,
		`oifname "wire" tcp sport { 4222, 6222 } drop; oifname "wire" tcp dport 6222 drop`)
}

// WithoutLog has what a machine sends to any log server's clients' port go nowhere.
func (n *Network) WithoutLog(i int) error { return n.rules(i, "", "tcp dport 4222 drop") }

// others are the addresses of the other machines, as a firewall has them.
func (n *Network) others(i int) string {
	var hosts []string
	for k := range n.machines {
		if k != i {
			hosts = append(hosts, n.host(k))
		}
	}
	return "{ " + strings.Join(hosts, ", ") + " }"
}

// rules are of the machine's own firewall, for what comes and for what goes, until Heal.
func (n *Network) rules(i int, in, out string) error {
	return n.nft(i, fmt.Sprintf("table ip sekali { chain come { type filter hook input priority 0; %s; }; chain go { type filter hook output priority 0; %s; }; }", in, out))
}

// Heal takes a machine's rules away.
func (n *Network) Heal(i int) error { return n.nft(i, "delete table ip sekali") }

func (n *Network) nft(i int, text string) error {
	command := exec.Command("ip", "netns", "exec", n.space(i), "nft", "-f", "-")
	command.Stdin = strings.NewReader(text + "\n")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Close takes the namespaces away, and with them all that is in them.
func (n *Network) Close() error {
	var failures []error
	// This end of a wire goes with its other one, at some time; the next network has the same name.
	if _, err := os.Stat("/sys/class/net/" + n.here()); err == nil {
		failures = append(failures, ip("link del "+n.here()))
	}
	for _, space := range append([]string{n.hub()}, n.spaces()...) {
		if _, err := os.Stat("/run/netns/" + space); err == nil {
			failures = append(failures, ip("netns del "+space))
		}
	}
	return errors.Join(failures...)
}

func (n *Network) spaces() (names []string) {
	for i := range n.machines {
		names = append(names, n.space(i))
	}
	return names
}
