package main

import (
	"context"
	"io"
)

// profile runs with profiles and prints their top functions.
func profile(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	_, exit := runScenarios(ctx, "profile", true, args, stdout, stderr)
	return exit
}
