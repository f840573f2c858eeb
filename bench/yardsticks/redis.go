package main

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sekali/bench/record"
	"sekali/loadgen/stream"
)

const redisConnections = 16

var redisSettings = []string{"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--auto-aof-rewrite-percentage", "0", "--io-threads", "2"}

// redisScript stores the events of a request, five arguments each, whose keys are new.
const redisScript = `local new = 0
for i = 1, #ARGV, 5 do
  if redis.call('SADD', KEYS[1], ARGV[i] .. '\0' .. ARGV[i+1]) == 1 then
    redis.call('XADD', KEYS[2], '*', 'topic', ARGV[i], 'event_id', ARGV[i+1], 'timestamp', ARGV[i+2], 'source', ARGV[i+3], 'payload', ARGV[i+4])
    new = new + 1
  end
end
return new`

func redisYardstick() yardstick {
	return yardstick{
		Yardstick: record.Yardstick{ID: "redis", Name: "Redis", Durable: "SIGKILL, power loss", Dedup: "exact, for ever, all of it in memory",
			Includes: overSocket, Settings: []string{fmt.Sprintf("%d connections, a Unix socket", redisConnections), "a request is one call of a script, SADD and XADD for each event",
				"appendonly yes", "appendfsync always", `save ""`, "auto-aof-rewrite-percentage 0", "io-threads 2"}},
		connections: redisConnections,
		version: func(ctx context.Context) (string, error) {
			program, err := exec.LookPath("redis-server")
			if err != nil {
				return "", errors.New("redis-server is not installed (Debian has it by that name)")
			}
			out, err := exec.CommandContext(ctx, program, "--version").Output()
			_, version, _ := strings.Cut(string(out), "v=")
			version, _, _ = strings.Cut(version, " ")
			return version, err
		},
		make: func() system { return &redis{} },
	}
}

type redis struct {
	server      *server
	connections []redisConnection
}

func (r *redis) start(ctx context.Context, dir string) (err error) {
	socket := filepath.Join(dir, "redis.sock")
	ready := func() error {
		c, err := dialRedis(ctx, socket)
		if err == nil {
			r.connections = append(r.connections, c)
		}
		return err
	}
	args := append([]string{"--port", "0", "--unixsocket", socket, "--dir", dir}, redisSettings...)
	if r.server, err = startServer(ctx, dir, nil, ready, "redis-server", args...); err != nil {
		return err
	}
	for len(r.connections) < redisConnections {
		if err := ready(); err != nil {
			return err
		}
	}
	_, err = r.connections[0].call(redisCommand("SCRIPT", "LOAD", redisScript))
	return err
}

func (r *redis) encode(events []stream.Event) any {
	hash := sha1.Sum([]byte(redisScript))
	args := []string{"EVALSHA", hex.EncodeToString(hash[:]), "2", "dedup_store", "events"}
	for _, e := range events {
		args = append(args, e.Topic, e.EventID, e.Timestamp, e.Source, e.Payload)
	}
	return redisCommand(args...)
}

func (r *redis) append(_ context.Context, connection int, request any) error {
	_, err := r.connections[connection].call(request.([]byte))
	return err
}

func (r *redis) settle(context.Context) error { return nil }

func (r *redis) stored(context.Context) (int, error) {
	events, err := r.connections[0].call(redisCommand("XLEN", "events"))
	if err != nil {
		return 0, err
	}
	keys, err := r.connections[0].call(redisCommand("SCARD", "dedup_store"))
	if err == nil && keys != events {
		err = fmt.Errorf("%s keys, %s events", keys, events)
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(events)
}

func (r *redis) stop() error {
	for _, c := range r.connections {
		c.conn.Close()
	}
	return r.server.stop(syscall.SIGTERM)
}

func (r *redis) process() *server { return r.server }

// redisCommand is a command in the Redis protocol.
func redisCommand(args ...string) []byte {
	command := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, arg := range args {
		command = fmt.Appendf(command, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return command
}

type redisConnection struct {
	conn   net.Conn
	answer *bufio.Reader
}

// dialRedis connects. When ctx ends so does every call, also one that nobody answers.
func dialRedis(ctx context.Context, socket string) (redisConnection, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return redisConnection{}, err
	}
	context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // it may be closed by then
	return redisConnection{conn, bufio.NewReader(conn)}, nil
}

// call sends a command and returns its answer, an integer or a string.
func (c redisConnection) call(command []byte) (string, error) {
	if _, err := c.conn.Write(command); err != nil {
		return "", err
	}
	line, err := c.answer.ReadString('\n')
	if err != nil {
		return "", err
	}
	kind, line := line[0], strings.TrimSpace(line[1:])
	switch kind {
	case '-':
		return "", errors.New("redis: " + line)
	case '$': // its length; the string is the next line
		line, err = c.answer.ReadString('\n')
		return strings.TrimSpace(line), err
	}
	return line, nil
}
