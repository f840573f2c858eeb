// Package nullserver acknowledges every request as soon as it has read it and keeps nothing: what a
// generator reaches against it is all that the generator can do.
package nullserver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Command is the name under which a program that measures its ceiling runs this server as a process
// of its own.
const Command = "null-server"

// headerTimeout bounds the wait for a request's header.
const headerTimeout = 10 * time.Second

// Run serves until ctx ends, and says on stderr where it listens, as the aggregator does.
func Run(ctx context.Context, args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet(Command, flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "127.0.0.1:0", "`address`")
	events := flags.Int("events", 1, "how many events each request has")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("null server: %w", err)
	}
	fmt.Fprintf(stderr, `{"msg":"listening","addr":%q}`+"\n", listener.Addr())
	server := http.Server{Handler: handler(*events), ReadHeaderTimeout: headerTimeout}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("null server: %w", err)
	}
	return nil
}

func handler(events int) http.Handler {
	answer := fmt.Appendf(nil, `{"ack":"memory","accepted":%d,"rejected":0,"errors":[]}`, events)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return // the sender is gone
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		w.Write(answer)
	})
}
