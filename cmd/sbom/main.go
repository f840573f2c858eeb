// Command sbom lists what built binaries consist of, as CycloneDX JSON on standard
// output: each binary, and each module the linker has put into it. It reads what the Go
// toolchain has written into the binaries, and so knows nothing that is not in them.
package main

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// bom is the part of CycloneDX 1.6 that is written. It has neither a serial number nor
// a time: the same binaries give the same bytes.
type bom struct {
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	Version      int          `json:"version"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

func run(binaries []string, out io.Writer) error {
	if len(binaries) == 0 {
		return fmt.Errorf("usage: sbom <binary>…")
	}
	list := bom{Format: "CycloneDX", SpecVersion: "1.6", Version: 1}
	modules := map[string]component{}
	for _, path := range binaries {
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			return err // names the file
		}
		binary := application(filepath.Base(path), info)
		list.Components = append(list.Components, binary)
		uses := dependency{Ref: binary.Ref, DependsOn: []string{}}
		for _, m := range contents(info) {
			modules[m.Ref] = m
			uses.DependsOn = append(uses.DependsOn, m.Ref)
		}
		list.Dependencies = append(list.Dependencies, uses)
	}
	list.Components = append(list.Components, slices.SortedFunc(maps.Values(modules), func(a, b component) int {
		return strings.Compare(a.Ref, b.Ref)
	})...)
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(list)
}

// application is the binary itself. Its settings say how it was built: commit, flags, system.
func application(name string, info *debug.BuildInfo) component {
	c := component{Type: "application", Ref: "binary:" + name, Name: name, Version: info.Main.Version}
	for _, s := range info.Settings {
		c.Properties = append(c.Properties, property{"go:build:" + s.Key, s.Value})
	}
	return c
}

// contents are the standard library and the modules of one binary, those that replace
// another in its place. go:sum is the h1 digest that go.sum holds too.
func contents(info *debug.BuildInfo) []component {
	all := []component{library("std", strings.TrimPrefix(info.GoVersion, "go"))}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c := library(m.Path, m.Version)
		if m.Sum != "" {
			c.Properties = []property{{"go:sum", m.Sum}}
		}
		all = append(all, c)
	}
	return all
}

func library(path, version string) component {
	purl := "pkg:golang/" + path + "@" + version
	return component{Type: "library", Ref: purl, Name: path, Version: version, PURL: purl}
}
