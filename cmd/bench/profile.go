package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"sekali/bench/pages/profile"
	"sekali/bench/record"
)

// topFunctions is how many are printed of each profile.
const topFunctions = 15

// profileRun runs with profiles and prints their top functions.
func profileRun(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	dir, exit := runScenarios(ctx, "profile", true, args, stdout, stderr)
	if dir == "" || ctx.Err() != nil {
		return exit
	}
	folders, err := record.Open(dir)
	for _, folder := range folders {
		fmt.Fprintf(stdout, "\n== %s\n", folder.Run.Scenario.Label())
		if err == nil {
			err = profile.Print(stdout, filepath.Join(folder.Dir, record.ProfilesDir), topFunctions,
				profile.Costs{CPUUS: folder.Run.Summary.ServerCPUUSPerStored, AllocatedBytes: folder.Run.Summary.AllocatedBytesPerStored})
		}
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench profile: %v\n", err)
		return max(exit, exitFailed)
	}
	return exit
}
