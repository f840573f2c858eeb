// Package cluster runs a cluster on this machine: log servers and aggregators, each a process with
// a folder, on the loopback.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sekali/bench/system/ports"
	"sekali/bench/system/process"
)

const (
	// readyTimeout bounds the time from an aggregator's start until it may be written to, which may
	// wait for an election of the log.
	readyTimeout = 60 * time.Second
	// formTimeout bounds the time until the log servers have a leader, so that the stream can be made.
	formTimeout = 60 * time.Second
	// stopTimeout bounds a graceful stop. A log server lets its clients go for up to 12 s.
	stopTimeout = 40 * time.Second
)

// Config says what to start.
type Config struct {
	Dir        string   // holds the folders log-1, node-1, …
	LogServer  string   // bin/sekali-log
	Aggregator string   // bin/aggregator
	Nodes      int      // machines: each has a log server and an aggregator
	Flags      []string // of each aggregator, further
	Replicas   int      // copies of the log; 0: as many as init makes
	LazySync   bool     // the log servers answer before they have synced
	Port       int      // the first of the Ports that are taken, on the loopback; 0 picks them
	Dirs       []string // of each machine, instead of Dir
	Network    *Network // nil: the loopback
	// Log is where a process writes its log, by its name: log-1, node-1.
	Log func(name string) io.Writer
	// Begin prepares a process of a machine, from 0 on, before its first instruction; nil: there is
	// nothing to do.
	Begin func(machine, pid int) error
}

// perMachine is how many ports a machine takes: the aggregator's, and two of its log server.
const perMachine = 3

// Ports are how many are taken from Config.Port on: first the aggregators', then those of the log
// servers for aggregators, then those for each other.
func (c *Config) Ports() int { return perMachine * c.Nodes }

// Machine is a log server and an aggregator.
type Machine struct {
	LogName, NodeName string // log-1, node-1
	URL               string // of the aggregator
	LogDir            string
	Log, Node         *process.Process
	NodeConfig        process.Config // who starts the aggregators by other means needs it

	log process.Config
}

// Cluster is what runs.
type Cluster struct {
	Machines []*Machine
	config   Config
	ctx      context.Context // of Start: its end kills every process, also those of later
}

// Start starts log servers, has them form a cluster, and starts the aggregators. What was started
// is ended if the rest cannot be. When ctx ends every process is killed.
func Start(ctx context.Context, config Config) (*Cluster, error) {
	c, err := StartLogs(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := c.each(c.StartNode); err != nil {
		c.Kill()
		return nil, fmt.Errorf("cluster: %w", err)
	}
	return c, nil
}

// StartLogs is Start without the aggregators.
func StartLogs(ctx context.Context, config Config) (*Cluster, error) {
	c, err := plan(ctx, config)
	if err != nil {
		return nil, err
	}
	if err = c.each(c.StartLog); err == nil {
		err = c.form(ctx)
	}
	if err != nil {
		c.Kill()
		return nil, fmt.Errorf("cluster: %w", err)
	}
	return c, nil
}

// plan chooses names and addresses. A log server has to know those of the others beforehand.
func plan(ctx context.Context, config Config) (*Cluster, error) {
	c := &Cluster{config: config, ctx: ctx}
	nodes, clients, routes, err := config.addresses(ctx)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	var urls []string
	for _, address := range clients {
		urls = append(urls, "nats://"+address)
	}
	for i := range config.Nodes {
		m := &Machine{LogName: fmt.Sprintf("log-%d", i+1), NodeName: fmt.Sprintf("node-%d", i+1)}
		dir := config.Dir
		if config.Dirs != nil {
			dir = config.Dirs[i]
		}
		m.LogDir = filepath.Join(dir, m.LogName)
		m.log = process.Config{Binary: config.LogServer, Plain: true, Log: config.Log(m.LogName), Args: []string{"-name", m.LogName,
			"-dir", m.LogDir, "-listen", clients[i], "-cluster-listen", routes[i], "-routes", strings.Join(routes, ",")}}
		if config.LazySync {
			m.log.Args = append(m.log.Args, "-lab-lazy-sync")
		}
		m.NodeConfig = process.Config{Binary: config.Aggregator, Data: filepath.Join(dir, m.NodeName), Log: config.Log(m.NodeName), Listen: nodes[i],
			Args: append([]string{"-cluster", strings.Join(urls, ","), "-node", m.NodeName}, config.Flags...)}
		if config.Begin != nil {
			m.log.Begin = func(pid int) error { return config.Begin(i, pid) }
			m.NodeConfig.Begin = m.log.Begin
		}
		if config.Network != nil {
			m.log.Under, m.NodeConfig.Under = config.Network.under(i), config.Network.under(i)
			m.log.Args, m.NodeConfig.Args = append(m.log.Args, "-insecure"), append(m.NodeConfig.Args, "-insecure")
		}
		c.Machines = append(c.Machines, m)
	}
	return c, nil
}

// addresses are those of the aggregators, and of the log servers, for aggregators and for each
// other. Chosen ones are held until ctx ends, for all of them are killed and started again.
func (c *Config) addresses(ctx context.Context) (nodes, clients, routes []string, err error) {
	if c.Network == nil && c.Port != 0 {
		if err := c.checkPorts(); err != nil {
			return nil, nil, nil, err
		}
		for i := range c.Nodes {
			nodes = append(nodes, loopback(c.Port+i))
			clients, routes = append(clients, loopback(c.Port+c.Nodes+i)), append(routes, loopback(c.Port+2*c.Nodes+i))
		}
		return nodes, clients, routes, nil
	}
	if c.Network == nil {
		held, err := ports.Hold(3 * c.Nodes)
		if err != nil {
			return nil, nil, nil, err
		}
		context.AfterFunc(ctx, held.Release)
		return held.Addresses[:c.Nodes], held.Addresses[c.Nodes : 2*c.Nodes], held.Addresses[2*c.Nodes:], nil
	}
	for i := range c.Nodes {
		nodes = append(nodes, c.Network.host(i)+":8080")
		clients, routes = append(clients, c.Network.host(i)+":4222"), append(routes, c.Network.host(i)+":6222")
	}
	return nodes, clients, routes, nil
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// ErrPort marks a port that cannot be had: Config.Port has to be another.
var ErrPort = errors.New("a port is taken")

// checkPorts says whose port is taken, before anything is started.
func (c *Config) checkPorts() error {
	for i := range c.Ports() {
		name := []string{"node-%d", "log-%d, for aggregators,", "log-%d, for the other log servers,"}[i/c.Nodes]
		l, err := net.Listen("tcp", loopback(c.Port+i))
		if err != nil {
			return fmt.Errorf("%w: "+name+" cannot have it: %w", ErrPort, i%c.Nodes+1, err)
		}
		l.Close()
	}
	return nil
}

// each does a thing with every machine at once.
func (c *Cluster) each(do func(*Machine) error) error {
	failures := make([]error, len(c.Machines))
	var all sync.WaitGroup
	for i, m := range c.Machines {
		all.Go(func() { failures[i] = do(m) })
	}
	all.Wait()
	return errors.Join(failures...)
}

// StartLog starts a machine's log server, again on the same address and folder.
func (c *Cluster) StartLog(m *Machine) error { return c.StartLogWith(m) }

// StartLogWith is StartLog with flags for once.
func (c *Cluster) StartLogWith(m *Machine, flags ...string) error {
	config := m.log
	config.Args = append(slices.Clone(config.Args), flags...)
	p, err := process.Start(c.ctx, config)
	if err == nil {
		m.Log = p
	}
	return err
}

// StartNode starts a machine's aggregator and returns when it is ready.
func (c *Cluster) StartNode(m *Machine) error {
	if err := c.StartUnready(m); err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(c.ctx, readyTimeout)
	defer cancel()
	return m.Node.WaitReady(ready)
}

// StartUnready is StartNode that does not wait.
func (c *Cluster) StartUnready(m *Machine) error {
	p, err := process.Start(c.ctx, m.NodeConfig)
	if err == nil {
		m.Node, m.URL = p, p.URL
	}
	return err
}

// form makes the stream, as an operator does once. It is repeated until the log servers have a
// leader.
func (c *Cluster) form(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, formTimeout)
	defer cancel()
	args := []string{"cluster", "init", "-cluster", c.LogURLs(), "-nodes", c.NodeNames()}
	if c.config.Replicas > 0 {
		args = append(args, "-replicas", strconv.Itoa(c.config.Replicas))
	}
	why := error(nil) // of the latest that was not cut off by ctx, if there is one
	for {
		out, err := exec.CommandContext(ctx, c.config.Aggregator, args...).CombinedOutput()
		if err == nil {
			return nil
		}
		if why == nil || ctx.Err() == nil {
			why = fmt.Errorf("cluster init: %w: %s", err, out)
		}
		select {
		case <-ctx.Done():
			return why
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// LogURLs are the log servers', as the aggregators are given them.
func (c *Cluster) LogURLs() string { return c.Machines[0].NodeConfig.Args[1] }

// NodeNames are the aggregators', with commas.
func (c *Cluster) NodeNames() string {
	var names []string
	for _, m := range c.Machines {
		names = append(names, m.NodeName)
	}
	return strings.Join(names, ",")
}

// URLs are the aggregators'.
func (c *Cluster) URLs() (urls []string) {
	for _, m := range c.Machines {
		urls = append(urls, m.URL)
	}
	return urls
}

// Processes are all that have been started, the last of each place.
func (c *Cluster) Processes() (all []*process.Process) {
	for _, m := range c.Machines {
		for _, p := range []*process.Process{m.Node, m.Log} {
			if p != nil {
				all = append(all, p)
			}
		}
	}
	return all
}

// Stop ends the aggregators gracefully, and then the log servers, on which they depend.
func (c *Cluster) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var failures []error
	for _, of := range []func(*Machine) *process.Process{
		func(m *Machine) *process.Process { return m.Node },
		func(m *Machine) *process.Process { return m.Log },
	} {
		failures = append(failures, c.each(func(m *Machine) error {
			p := of(m)
			if p == nil {
				return nil
			}
			select {
			case <-p.Exited():
				return nil // by somebody else's doing
			default:
			}
			_, err := p.Stop(ctx)
			return err
		}))
	}
	return errors.Join(failures...)
}

// Kill ends every process at once.
func (c *Cluster) Kill() {
	for _, p := range c.Processes() {
		p.Kill()
		<-p.Exited()
	}
}
