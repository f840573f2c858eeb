package main

import (
	"context"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"syscall"

	"sekali/bench/record"
	"sekali/loadgen/stream"
)

const victoriaConnections = 8

func victoriaYardstick(binary string) yardstick {
	return yardstick{
		Yardstick: record.Yardstick{ID: "victorialogs", Name: "VictoriaLogs", Durable: "a graceful stop; SIGKILL and power loss take up to 5 s", Dedup: "none: repeats are stored",
			Includes: overHTTP + "; not what is still in memory then", Settings: []string{fmt.Sprintf("%d connections", victoriaConnections), "a request is one jsonline insert", "_stream_fields=topic", "_time_field=timestamp", "retentionPeriod=100y"}},
		connections: victoriaConnections, appendOnly: true,
		version: func(context.Context) (string, error) {
			info, err := buildinfo.ReadFile(binary)
			if err != nil {
				return "", fmt.Errorf("VictoriaLogs was not built (make yardsticks does it): %w", err)
			}
			return info.Main.Version, nil
		},
		make: func() system { return &victoriaLogs{binary: binary, client: newHTTPClient(victoriaConnections)} },
	}
}

type victoriaLogs struct {
	binary string
	client *http.Client
	url    string
	server *server
}

func (v *victoriaLogs) start(ctx context.Context, dir string) error {
	port, err := heldPort()
	if err != nil {
		return err
	}
	v.url = "http://127.0.0.1:" + port
	ready := func() error {
		return get(ctx, v.client, v.url+"/health", "", func(io.Reader) error { return nil })
	}
	v.server, err = startServer(ctx, dir, nil, ready, v.binary, "-httpListenAddr=127.0.0.1:"+port, "-storageDataPath="+filepath.Join(dir, "data"), "-retentionPeriod=100y")
	return err
}

func (v *victoriaLogs) encode(events []stream.Event) any { return lines(events) }

func (v *victoriaLogs) append(ctx context.Context, _ int, request any) error {
	const insert = "/insert/jsonline?_stream_fields=topic&_time_field=timestamp&_msg_field=payload.message"
	status, err := post(ctx, v.client, v.url+insert, "application/stream+json", request.([]byte))
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("insert: status %d", status)
	}
	return err
}

// settle has nothing to wait for: what was answered is written within 5 s, and may be lost until
// then.
func (v *victoriaLogs) settle(context.Context) error { return nil }

// stored asks for what was inserted to be made visible, and counts it.
func (v *victoriaLogs) stored(ctx context.Context) (int, error) {
	if err := get(ctx, v.client, v.url+"/internal/force_flush", "", func(io.Reader) error { return nil }); err != nil {
		return 0, err
	}
	var row struct {
		N string `json:"n"`
	}
	query := url.Values{"query": {"* | stats count() n"}}
	err := get(ctx, v.client, v.url+"/select/logsql/query?"+query.Encode(), "", func(body io.Reader) error { return json.NewDecoder(body).Decode(&row) })
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(row.N)
}

func (v *victoriaLogs) stop() error      { return v.server.stop(syscall.SIGTERM) }
func (v *victoriaLogs) process() *server { return v.server }
