package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	answerTimeout = time.Second      // of each question to the other servers
	joinTimeout   = 15 * time.Second // of an empty folder's first question; longer than an election
	removeTimeout = 30 * time.Second // of taking a lost server out; its streams are copied later
	firstSays     = 15 * time.Second // after which it is said that this has not been done yet …
	saysEvery     = time.Minute      // … and how often again
)

// join gives a new folder its name. If the cluster knows a server of this -name already, then
// either that one's folder is lost, or this one is the wrong folder: an operator says which by
// -replace. The name is "" if ctx has ended.
func (c *config) join(ctx context.Context, log *slog.Logger) (name string, err error) {
	var peers []peer
	if c.reachable() {
		if peers, err = c.ask(ctx, log); err != nil {
			return "", err
		}
	}
	if ctx.Err() != nil {
		return "", nil
	}
	if found := c.namesakes(peers, ""); len(found) > 0 && !c.replace {
		return "", misconfigured("-dir=%s is empty, but the cluster knows a server -name=%s: is the disk mounted? "+
			"If that server's folder is lost, start once with -replace", c.dir, c.name)
	}
	return c.newIdentity(peers)
}

// reachable reports that another server listens.
func (c *config) reachable() bool {
	for _, route := range strings.Split(c.routes, ",") {
		if conn, err := net.DialTimeout("tcp", route, answerTimeout); err == nil {
			conn.Close()
			return true
		}
	}
	return false
}

// ask runs a server without a log until the cluster has said who belongs to it. It is none of them.
// A cluster without a leader says nothing: after joinTimeout there are no peers.
func (c *config) ask(ctx context.Context, log *slog.Logger) ([]peer, error) {
	options, err := c.options(c.name+"-asks", log)
	if err != nil {
		return nil, err
	}
	options.JetStream = false
	options.Host, options.Port, options.Cluster.Port = "127.0.0.1", server.RANDOM_PORT, server.RANDOM_PORT
	s, err := start(options, log)
	if err != nil {
		return nil, err
	}
	defer s.Shutdown()
	nc, err := connect(s, options)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	for end := time.Now().Add(joinTimeout); time.Now().Before(end) && ctx.Err() == nil; {
		if peers, anew := members(nc); peers != nil || anew {
			return peers, nil
		}
	}
	switch {
	case ctx.Err() != nil:
	case c.replace:
		log.Warn("other servers listen, but nobody says yet which belong to the cluster: the lost server is taken out once they do")
	default:
		log.Warn("other servers listen, but nobody says which belong to the cluster: going on as a new one")
	}
	return nil, nil
}

// succeed looks whether the cluster still has a server of this -name that was here before. With
// -replace it is taken out, and its copies of the streams are made here; without, that is said.
// While most of the cluster's servers are away nobody can decide that, so it tries until ctx ends.
// With -replace it says so: until then the lost one counts, and more of the others are needed.
func (c *config) succeed(ctx context.Context, s *server.Server, options *server.Options, log *slog.Logger) {
	say := time.Now().Add(firstSays)
	for ; ctx.Err() == nil; pause(ctx, answerTimeout) {
		err := c.trySucceed(s, options, log)
		if err == nil {
			return
		}
		if c.replace && ctx.Err() == nil && time.Now().After(say) {
			log.Warn("-replace has not taken out a lost server yet, and goes on to try: do the other servers run, and reach this one?",
				"error", err.Error())
			say = time.Now().Add(saysEvery)
		}
	}
}

// trySucceed is one attempt. An error is one that may pass.
func (c *config) trySucceed(s *server.Server, options *server.Options, log *slog.Logger) error {
	nc, err := connect(s, options)
	if err != nil {
		return fmt.Errorf("cannot ask the cluster for its servers: %w", err)
	}
	defer nc.Close()
	peers, _ := members(nc)
	if peers == nil {
		return errors.New("no leader says which servers belong to the cluster: most of them have to be there")
	}
	if !contains(peers, peerID(options.ServerName)) {
		return errors.New("the cluster does not have this server yet")
	}
	lost := c.namesakes(peers, options.ServerName)
	if len(lost) == 0 {
		return nil
	}
	if !c.replace {
		log.Error("the cluster has another server of this name: if its folder is lost, start once with -replace", "name", lost[0].Name)
		return nil
	}
	for _, p := range lost {
		if err := remove(nc, p); err != nil {
			return fmt.Errorf("take out %s: %w", p.Name, err)
		}
		log.Info("took the place of a lost server", "name", p.Name)
	}
	return nil
}

// connect connects to the server in this process as the system's user.
func connect(s *server.Server, options *server.Options) (*nats.Conn, error) {
	for _, u := range options.Users {
		if u.Username == systemUser {
			return nats.Connect("", nats.InProcessServer(s), nats.UserInfo(u.Username, u.Password))
		}
	}
	return nil, errors.New("no system user")
}

// members are the servers of the cluster, as its leader says; nil if there is no answer of a
// leader. A cluster is anew if others answer, and none has a leader or anything stored.
func members(nc *nats.Conn) (peers []peer, anew bool) {
	inbox := nats.NewInbox()
	answers, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, false
	}
	defer answers.Unsubscribe()
	if err := nc.PublishRequest("$SYS.REQ.SERVER.PING.JSZ", inbox, nil); err != nil {
		return nil, false
	}
	heard, used := 0, false
	for end := time.Now().Add(answerTimeout); ; {
		message, err := answers.NextMsg(time.Until(end))
		if err != nil {
			return nil, heard > 0 && !used
		}
		var answer struct {
			Server struct{ Name string }
			Data   struct {
				Disabled bool
				Streams  int
				Meta     struct {
					Leader   string `json:"leader"`
					Replicas []peer `json:"replicas"`
				} `json:"meta_cluster"`
			}
		}
		if err := json.Unmarshal(message.Data, &answer); err != nil || answer.Data.Disabled {
			continue // one that asks, too
		}
		heard++
		meta := answer.Data.Meta
		used = used || meta.Leader != "" || answer.Data.Streams > 0
		if meta.Leader != "" && meta.Leader == answer.Server.Name {
			return append(meta.Replicas, peer{Name: meta.Leader, ID: peerID(meta.Leader)}), false
		}
	}
}

// remove takes a server out of the cluster for good.
func remove(nc *nats.Conn, p peer) error {
	request, err := json.Marshal(map[string]string{"peer": p.Name, "peer_id": p.ID})
	if err != nil {
		return err
	}
	message, err := nc.Request(server.JSApiRemoveServer, request, removeTimeout)
	if err != nil {
		return err
	}
	var answer server.JSApiMetaServerRemoveResponse
	if err := json.Unmarshal(message.Data, &answer); err != nil {
		return fmt.Errorf("the answer %.80q: %w", message.Data, err)
	}
	if answer.Error != nil {
		return answer.Error
	}
	return nil
}

func contains(peers []peer, id string) bool {
	for _, p := range peers {
		if p.ID == id {
			return true
		}
	}
	return false
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
