package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"sekali/bench/record"
	"sekali/loadgen/stream"
)

const postgresConnections = 4

// postgresSettings take checkpoints and vacuum out of the round: to PostgreSQL's favour, since
// Sekali's own are in it.
var postgresSettings = []string{"synchronous_commit=on", "fsync=on", "full_page_writes=on", "shared_buffers=2GB", "max_wal_size=16GB", "checkpoint_timeout=1h",
	"wal_buffers=64MB", "wal_level=minimal", "max_wal_senders=0", "autovacuum=off", "jit=off"}

const (
	createPostgres = `CREATE TABLE events (topic text NOT NULL, event_id text NOT NULL, timestamp text NOT NULL, source text NOT NULL, payload text, PRIMARY KEY (topic, event_id))`
	insertPostgres = `INSERT INTO events SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) ON CONFLICT DO NOTHING`
)

func postgresYardstick() yardstick {
	return yardstick{
		Yardstick: record.Yardstick{ID: "postgresql", Name: "PostgreSQL", Durable: "SIGKILL, power loss", Dedup: "exact, for ever",
			Includes: overSocket, Settings: append([]string{fmt.Sprintf("%d connections, a Unix socket", postgresConnections), "a request is one prepared INSERT … SELECT FROM unnest … ON CONFLICT DO NOTHING, its keys in order, its arrays in the binary format",
				"locale C"}, postgresSettings...)},
		connections: postgresConnections, logs: []string{"data/pg_wal"},
		version: func(ctx context.Context) (string, error) {
			program, err := postgresProgram("postgres")
			if err != nil {
				return "", err
			}
			if _, err := postgresUser(); err != nil {
				return "", err
			}
			out, err := exec.CommandContext(ctx, program, "--version").Output()
			return strings.TrimPrefix(strings.TrimSpace(string(out)), "postgres (PostgreSQL) "), err
		},
		make: func() system { return &postgres{} },
	}
}

// postgresProgram finds a program of the newest PostgreSQL; Debian has them outside the path.
func postgresProgram(name string) (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	slices.SortFunc(found, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	if len(found) > 0 {
		return found[len(found)-1], nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", errors.New("PostgreSQL is not installed (Debian: postgresql)")
	}
	return path, nil
}

// postgresUser is whom to run it as: itself refuses root. nil is our own user.
func postgresUser() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

type postgres struct {
	server      *server
	connections []*pgconn.PgConn
}

func (p *postgres) start(ctx context.Context, dir string) error {
	as, err := postgresUser()
	if err != nil {
		return err
	}
	if as != nil {
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			return err
		}
	}
	data, err := initPostgres(ctx, dir, as)
	if err != nil {
		return err
	}
	program, err := postgresProgram("postgres")
	if err != nil {
		return err
	}
	args := []string{"-D", data, "-k", dir, "-h", ""}
	for _, setting := range postgresSettings {
		args = append(args, "-c", setting)
	}
	ready := func() error {
		c, err := pgconn.Connect(ctx, "host="+dir+" user=sekali dbname=postgres sslmode=disable")
		if err == nil {
			p.connections = append(p.connections, c)
		}
		return err
	}
	if p.server, err = startServer(ctx, dir, as, ready, program, args...); err != nil {
		return err
	}
	for len(p.connections) < postgresConnections {
		if err := ready(); err != nil {
			return err
		}
	}
	if _, err := p.connections[0].Exec(ctx, createPostgres).ReadAll(); err != nil {
		return err
	}
	for _, c := range p.connections {
		if _, err := c.Prepare(ctx, "insert", insertPostgres, nil); err != nil {
			return err
		}
	}
	return nil
}

// initPostgres makes an empty cluster.
func initPostgres(ctx context.Context, dir string, as *syscall.Credential) (data string, err error) {
	program, err := postgresProgram("initdb")
	if err != nil {
		return "", err
	}
	data = filepath.Join(dir, "data")
	command := exec.CommandContext(ctx, program, "-D", data, "-U", "sekali", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
	command.Dir, command.SysProcAttr = dir, &syscall.SysProcAttr{Credential: as}
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w\n%s", err, bytes.TrimSpace(out))
	}
	return data, nil
}

// encode makes the statement's five arrays, a column each. The keys are in order: so that
// neighbours on a page of the index are written together, and so that no two transactions wait for
// each other.
func (p *postgres) encode(events []stream.Event) any {
	events = slices.Clone(events)
	slices.SortFunc(events, func(a, b stream.Event) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.EventID, b.EventID))
	})
	column := func(of func(*stream.Event) string) []byte {
		const textOID = 25
		array := binary.BigEndian.AppendUint32(nil, 1) // dimensions
		array = binary.BigEndian.AppendUint32(array, 0)
		array = binary.BigEndian.AppendUint32(array, textOID)
		array = binary.BigEndian.AppendUint32(array, uint32(len(events)))
		array = binary.BigEndian.AppendUint32(array, 1) // the first index
		for i := range events {
			text := of(&events[i])
			array = append(binary.BigEndian.AppendUint32(array, uint32(len(text))), text...)
		}
		return array
	}
	return [][]byte{
		column(func(e *stream.Event) string { return e.Topic }),
		column(func(e *stream.Event) string { return e.EventID }),
		column(func(e *stream.Event) string { return e.Timestamp }),
		column(func(e *stream.Event) string { return e.Source }),
		column(func(e *stream.Event) string { return e.Payload }),
	}
}

func (p *postgres) append(ctx context.Context, connection int, request any) error {
	const binaryFormat = 1
	return p.connections[connection].ExecPrepared(ctx, "insert", request.([][]byte), []int16{binaryFormat}, nil).Read().Err
}

func (p *postgres) settle(context.Context) error { return nil }

func (p *postgres) stored(ctx context.Context) (int, error) {
	results, err := p.connections[0].Exec(ctx, "SELECT count(*) FROM events").ReadAll()
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(results[0].Rows[0][0]))
}

func (p *postgres) stop() error {
	for _, c := range p.connections {
		_ = c.Close(context.Background())
	}
	return p.server.stop(syscall.SIGINT) // with a checkpoint: what it keeps is counted
}

func (p *postgres) process() *server { return p.server }
