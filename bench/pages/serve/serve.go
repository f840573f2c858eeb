// Package serve shows results in a browser, on this machine alone: the runs with their verdicts,
// each result's files, and two of them compared. It reads and never writes below the folder it
// shows.
//
// A request names a folder of the list or a file below one of them, and nothing else. Files are
// opened through os.Root, so that neither `..` nor a symbolic link leads out of the folder.
package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

const (
	// headerTimeout and writeTimeout bound a request; a comparison of two long runs takes seconds.
	headerTimeout = 10 * time.Second
	writeTimeout  = 2 * time.Minute
	// stopTimeout bounds the wait for requests under way when the server ends. What takes longer, a
	// comparison, is cut off: nobody who stops the server waits for it.
	stopTimeout = 5 * time.Second
)

// Config names what to show and where.
type Config struct {
	Dir    string // results/, a run, or any folder with runs below it
	Listen string // a loopback address; port 0 picks one
}

// Run serves until ctx ends, and says on stdout where.
func Run(ctx context.Context, c Config, stdout io.Writer) error {
	address, err := loopback(c.Listen)
	if err != nil {
		return err
	}
	handler, err := New(c.Dir)
	if err != nil {
		return err
	}
	defer handler.Close()
	listener, err := net.ListenTCP("tcp", address)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	fmt.Fprintf(stdout, "%s is at http://%s/ until ctrl-C\n", c.Dir, listener.Addr())
	return serve(ctx, listener, handler, stopTimeout)
}

// serve serves until ctx ends, and for so long beyond it as there are requests under way.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, atMost time.Duration) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout, WriteTimeout: writeTimeout}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), atMost)
	defer cancel()
	err := server.Shutdown(stopping)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// loopback resolves an address and refuses all that others could reach: results may name machines,
// flags and paths, and nobody is asked for a password.
func loopback(listen string) (*net.TCPAddr, error) {
	address, err := net.ResolveTCPAddr("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("serve: -listen %s: %w", listen, err)
	}
	if !address.IP.IsLoopback() {
		return nil, fmt.Errorf("serve: -listen %s is not on the loopback: write 127.0.0.1:<port>", listen)
	}
	return address, nil
}

// Handler is the pages. Make it with New, and close it.
type Handler struct {
	dir   string // as it was given, for comparisons
	root  *os.Root
	mux   *http.ServeMux
	turns chan struct{} // one comparison at a time: each reads all raw files of both sides
}

// New opens the folder.
func New(dir string) (*Handler, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	h := &Handler{dir: dir, root: root, mux: http.NewServeMux(), turns: make(chan struct{}, 1)}
	h.mux.HandleFunc("GET /{$}", h.front)
	h.mux.HandleFunc("GET /trend", h.trend)
	h.mux.HandleFunc("GET /spark/{path...}", h.spark)
	h.mux.HandleFunc("GET /compare", h.compare)
	h.mux.HandleFunc("GET /files/{path...}", h.files)
	return h, nil
}

// Close ends the use of the folder.
func (h *Handler) Close() error { return h.root.Close() }

// ServeHTTP refuses a host name other than the loopback's: a page elsewhere could have its own name
// point here, and read what its visitor may read.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if ip := net.ParseIP(trimBrackets(host)); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		http.Error(w, "this server answers to the loopback's names only", http.StatusForbidden)
		return
	}
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", pagePolicy)
	h.mux.ServeHTTP(w, r)
}

func trimBrackets(host string) string {
	if n := len(host); n > 2 && host[0] == '[' && host[n-1] == ']' {
		return host[1 : n-1]
	}
	return host
}
