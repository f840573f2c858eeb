package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sekali/bench/record"
	"sekali/loadgen/stream"
)

const (
	natsConnections = 2
	// natsPending is how many messages of a connection may wait for their acknowledgement.
	natsPending = 8192
	// natsWindow is how long JetStream remembers a message's id: longer than any round.
	natsWindow = time.Hour
)

func natsYardstick() yardstick {
	return yardstick{
		Yardstick: record.Yardstick{ID: "nats", Name: "NATS JetStream", Durable: "SIGKILL; a power loss takes up to 2 minutes (sync_interval)", Dedup: "exact within a window of 1 h, its ids in memory",
			Includes: overNATS, Settings: natsSettings()},
		connections: natsConnections, version: natsVersion,
		make: func() system { return &jetStream{} },
	}
}

func natsSyncYardstick() yardstick {
	return yardstick{
		Yardstick: record.Yardstick{ID: "nats-sync-always", Name: "NATS JetStream, every message synced", Durable: "SIGKILL, power loss", Dedup: "exact within a window of 1 h, its ids in memory",
			Includes: overNATS, Settings: append(natsSettings(), "sync_interval: always")},
		connections: natsConnections, events: 10_000, version: natsVersion,
		make: func() system { return &jetStream{syncAlways: true} },
	}
}

func natsSettings() []string {
	return []string{fmt.Sprintf("%d connections, TCP on the loopback", natsConnections), "a message an event, with Nats-Msg-Id",
		fmt.Sprintf("fast ingest (ADR-50), up to %d messages of a connection under way", natsPending), "file storage, one replica", "duplicate_window 1 h"}
}

func natsVersion(context.Context) (string, error) { return natsserver.VERSION, nil }

// natsCommand is the first argument with which this program is a NATS server: a process of its own,
// as the others are.
const natsCommand = "nats-server"

// serveNATS is that server, until SIGTERM.
func serveNATS(args []string) error {
	flags := flag.NewFlagSet(natsCommand, flag.ExitOnError)
	port := flags.Int("port", 0, "")
	dir := flags.String("dir", "", "")
	syncAlways := flags.Bool("sync-always", false, "")
	flags.Parse(args)
	s, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: *port, JetStream: true, StoreDir: *dir, SyncAlways: *syncAlways,
		JetStreamMaxMemory: 1 << 30, JetStreamMaxStore: 64 << 30, NoSigs: true})
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	s.Start()
	<-ended
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

const natsStream = "events"

func natsSubject(topic string) string { return natsStream + "." + topic }

type jetStream struct {
	syncAlways bool
	server     *server
	publishers []*natsPublisher // a connection each
	stream     jetstream.JetStream
}

func (j *jetStream) start(ctx context.Context, dir string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	port, err := heldPort()
	if err != nil {
		return err
	}
	ready := func() error {
		conn, err := nats.Connect("nats://" + net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			return err
		}
		p, err := newNATSPublisher(conn)
		j.publishers = append(j.publishers, p)
		return err
	}
	args := []string{natsCommand, "-port", port, "-dir", dir, "-sync-always=" + strconv.FormatBool(j.syncAlways)}
	if j.server, err = startServer(ctx, dir, nil, ready, program, args...); err != nil {
		return err
	}
	for len(j.publishers) < natsConnections {
		if err := ready(); err != nil {
			return err
		}
	}
	if j.stream, err = jetstream.New(j.publishers[0].conn); err != nil {
		return err
	}
	_, err = j.stream.CreateStream(ctx, jetstream.StreamConfig{Name: natsStream, Subjects: []string{natsSubject("*")}, Storage: jetstream.FileStorage,
		Duplicates: natsWindow, Replicas: 1, AllowBatchPublish: true})
	return err
}

// encode makes the messages: topic and id are the key.
func (j *jetStream) encode(events []stream.Event) any {
	messages := make([]*nats.Msg, len(events))
	for i, e := range events {
		m := nats.NewMsg(natsSubject(e.Topic))
		m.Header.Set(jetstream.MsgIDHeader, e.Topic+"/"+e.EventID)
		m.Data = []byte(strings.TrimSuffix(string(lines(events[i:i+1])), "\n"))
		messages[i] = m
	}
	return messages
}

func (j *jetStream) append(_ context.Context, connection int, request any) error {
	for _, m := range request.([]*nats.Msg) {
		if err := j.publishers[connection].publish(m); err != nil {
			return err
		}
	}
	return nil
}

// settle ends the batches.
func (j *jetStream) settle(context.Context) error {
	for _, p := range j.publishers {
		if err := p.commit(); err != nil {
			return err
		}
	}
	return nil
}

func (j *jetStream) stored(ctx context.Context) (int, error) {
	s, err := j.stream.Stream(ctx, natsStream)
	if err != nil {
		return 0, err
	}
	info, err := s.Info(ctx)
	if err != nil {
		return 0, err
	}
	return int(info.State.Msgs), nil
}

func (j *jetStream) stop() error {
	for _, p := range j.publishers {
		p.conn.Close()
	}
	return j.server.stop(syscall.SIGTERM)
}

func (j *jetStream) process() *server { return j.server }
