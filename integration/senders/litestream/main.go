// Litestream as a program, for the test: replicates a database into a folder until SIGTERM, or
// restores it from there. Its own command has the clients of every cloud.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/benbjohnson/litestream/file"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "litestream:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return errors.New("usage: litestream replicate DATABASE FOLDER, or restore FOLDER DATABASE")
	}
	if args[0] == "restore" {
		options := litestream.NewRestoreOptions()
		options.OutputPath = args[2]
		return litestream.NewReplicaWithClient(nil, file.NewReplicaClient(args[1])).Restore(ctx, options)
	}
	db, client := litestream.NewDB(args[1]), file.NewReplicaClient(args[2])
	db.Replica = litestream.NewReplicaWithClient(db, client)
	client.Replica = db.Replica
	store := litestream.NewStore([]*litestream.DB{db}, litestream.CompactionLevels{{Level: 0}, {Level: 1, Interval: time.Second}})
	if err := store.Open(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	return store.Close(context.WithoutCancel(ctx)) // it sends what is left
}
