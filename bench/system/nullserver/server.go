// Package nullserver acknowledges every request as soon as it has read it and keeps nothing: what a
// generator reaches against it is all that the generator can do, and what it takes of small
// requests is what any server on fasthttp takes.
package nullserver

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// Command is the name under which a program that measures its ceiling runs this server as a process
// of its own.
const Command = "null-server"

const (
	// headerTimeout bounds the wait for a request.
	headerTimeout = 10 * time.Second
	// maxBody is beyond what any scenario sends.
	maxBody = 1 << 30
	// maxConnections is beyond what the generator opens.
	maxConnections = 4096
)

// Run serves until ctx ends, and says on stderr where it listens, as the aggregator does.
func Run(ctx context.Context, args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet(Command, flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "127.0.0.1:0", "`address`")
	events := flags.Int("events", 1, "how many events each request has")
	ack := flags.String("ack", "memory", "the `level` that it acknowledges")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("null server: %w", err)
	}
	fmt.Fprintf(stderr, `{"msg":"listening","addr":%q}`+"\n", listener.Addr())
	server := fasthttp.Server{Handler: handler(*ack, *events), ReadTimeout: headerTimeout, MaxRequestBodySize: maxBody,
		Concurrency: maxConnections, NoDefaultServerHeader: true}
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	if err := server.Serve(listener); err != nil && ctx.Err() == nil {
		return fmt.Errorf("null server: %w", err)
	}
	return nil
}

// handler answers as the aggregator would at that level.
func handler(ack string, events int) fasthttp.RequestHandler {
	status, outcome := fasthttp.StatusAccepted, ""
	if ack == "store" {
		status, outcome = fasthttp.StatusOK, fmt.Sprintf(`,"stored":%d,"duplicates":0`, events)
	}
	answer := fmt.Appendf(nil, `{"ack":%q,"accepted":%d,"rejected":0%s,"errors":[]}`, ack, events, outcome)
	return func(ctx *fasthttp.RequestCtx) {
		ctx.SetContentType("application/json")
		ctx.SetStatusCode(status)
		ctx.SetBody(answer)
	}
}
