package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"sekali/aggregator"
	"sekali/internal/settings"
)

// maintenanceExits are what the exit codes of each command mean.
var maintenanceExits = map[string]string{
	"check":     "0: nothing is wrong. 1: something is wrong, and it says what. 2: bad usage.",
	"backup":    "0: the copy is whole and synced. 1: there is none, and it says why. 2: bad usage.",
	"mend-time": "0: done, or there was nothing to mend. 1: it could not, and says why. 2: bad usage.",
}

// maintain runs check, backup or mend-time: 0 done, 1 something is wrong, 2 bad usage.
func maintain(ctx context.Context, command string, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	data := flags.String("data", aggregator.DefaultConfig().Data, "the data `folder`")
	usage := "usage: aggregator " + command + " [-data D]"
	var to *string
	if command == "backup" {
		to = flags.String("to", "", "the new `file`, or a folder that gets one with the time in its name")
		usage = "usage: aggregator backup [-data D] -to FILE|FOLDER"
	}
	_, err := settings.Parse(flags, args, os.LookupEnv)
	if errors.Is(err, flag.ErrHelp) {
		settings.Help(stdout, usage+"\n\nExit "+maintenanceExits[command]+"\n", flags)
		return 0
	}
	if err == nil && to != nil && *to == "" {
		err = errors.New("-to is needed")
	}
	if err != nil {
		fmt.Fprintf(stderr, "aggregator: %v (%s)\n", err, usage)
		return 2
	}
	switch command {
	case "check":
		err = aggregator.Check(ctx, *data, stdout)
	case "mend-time":
		err = aggregator.MendTime(*data, time.Now(), stdout)
	default:
		var file string
		if file, err = aggregator.Backup(ctx, *data, *to); err == nil {
			fmt.Fprintln(stdout, file)
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "aggregator:", strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	return 0
}
