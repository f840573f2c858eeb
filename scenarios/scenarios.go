// Package scenarios holds the lab's own scenario files, so that bench has them wherever it runs.
package scenarios

import "embed"

// Files are the scenarios by their names: burst.yaml.
//
//go:embed *.yaml
var Files embed.FS
