package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"sekali/internal/systemd"
)

// serve runs the server until ctx ends, or until it cannot go on. Once it serves it logs
// "listening".
func serve(ctx context.Context, cfg config, log *slog.Logger) error {
	if err := os.MkdirAll(cfg.dir, 0o700); err != nil {
		return misconfigured("-dir: %w", err)
	}
	lock, err := cfg.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	name, err := cfg.identity()
	if err != nil {
		return err
	}
	if name == "" {
		if name, err = cfg.join(ctx, log); err != nil || name == "" {
			return err
		}
	}
	options, err := cfg.options(name, log)
	if err != nil {
		return err
	}
	s, err := start(options, log)
	if err != nil {
		return err
	}
	log.Info("listening", "addr", s.Addr().String(), "cluster", s.ClusterAddr().String(), "name", name, "dir", cfg.dir,
		"version", version, "nats", natsVersion)
	if err := systemd.Notify("READY=1"); err != nil {
		log.Warn("systemd is not told that this serves", "err", err)
	}
	going, stop := context.WithCancel(ctx)
	defer stop()
	go cfg.succeed(going, s, options, log)
	return watch(ctx, s, log)
}

// lock keeps a second process from the folder.
func (c *config) lock() (*os.File, error) {
	f, err := os.OpenFile(c.file("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, misconfigured("-dir: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, misconfigured("-dir=%s is used by another sekali-log", c.dir)
	}
	return f, nil
}

// startTimeout bounds the time until the listeners are open, which comes after reading the log.
const startTimeout = 5 * time.Minute

// start runs a server. What it finds wrong with an address or a folder ends this program: see
// fatal.
func start(options *server.Options, log *slog.Logger) (*server.Server, error) {
	s, err := server.NewServer(options)
	if err != nil {
		return nil, misconfigured("%w", err)
	}
	s.SetLoggerV2(lines{log}, false, false, false)
	s.Start()
	if !s.ReadyForConnections(startTimeout) {
		s.Shutdown()
		return nil, fmt.Errorf("does not listen after %v", startTimeout)
	}
	return s, nil
}

// watch stops the server when ctx ends. A disk that is full, or fails, turns JetStream off for
// good: then the program ends, so that whoever supervises it knows, and starts it again.
func watch(ctx context.Context, s *server.Server, log *slog.Logger) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			_ = systemd.Notify("STOPPING=1") // that it ends says as much
			log.Info("stopping: leaderships and clients go to the other servers")
			s.LameDuckShutdown()
			s.WaitForShutdown()
			return nil
		case <-tick.C:
			if !s.JetStreamEnabled() {
				s.Shutdown()
				return errors.New("the log is off: its disk is full or failed")
			}
		}
	}
}

// lines are the server's messages in this program's log.
type lines struct{ log *slog.Logger }

func (l lines) Noticef(format string, v ...any) { l.log.Info(fmt.Sprintf(format, v...)) }
func (l lines) Warnf(format string, v ...any)   { l.log.Warn(fmt.Sprintf(format, v...)) }
func (l lines) Errorf(format string, v ...any)  { l.log.Error(fmt.Sprintf(format, v...)) }
func (l lines) Debugf(string, ...any)           {}
func (l lines) Tracef(string, ...any)           {}

// Fatalf is what the server says where it expects the program to end.
func (l lines) Fatalf(format string, v ...any) {
	fmt.Fprintln(os.Stderr, "sekali-log:", fmt.Sprintf(format, v...))
	os.Exit(1)
}
