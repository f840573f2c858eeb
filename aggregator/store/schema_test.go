package store

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// schemaSums are the versions' schemas. A line is added with each version, and none is
// changed.
var schemaSums = map[int]string{
	3: "9899c3f51cb823bae6b79add1c65f549e2e786d39740b526c8295b1942bee81a",
	4: "1b8de657a37c0543e24b417dd3563e5773d955df21d38d643bf576d6705f0df4",
	5: "26b32f2c58a9886a7139faf2fc87c6da4fa0f050c4d42986fa110ca7051f8c18",
}

var comment = regexp.MustCompile(`--[^\n]*`)

// TestSchemaHasItsVersion: the version changes with the schema, and each version has a folder that
// the tests open.
func TestSchemaHasItsVersion(t *testing.T) {
	all := ""
	for _, dedup := range []Dedup{DedupRuns, DedupTable} {
		for _, layout := range []Layout{LayoutBlocks, LayoutRows} {
			all += schemaOf(Design{dedup, layout})
		}
	}
	sum := sha256.Sum256([]byte(strings.Join(strings.Fields(comment.ReplaceAllString(all, "")), " ")))
	if got := hex.EncodeToString(sum[:]); got != schemaSums[schemaVersion] {
		t.Errorf("the schema has the sum %s, but version %d has %s: raise schemaVersion, take older ones forward in migrate, "+
			"and add the sum and a folder of the new version", got, schemaVersion, schemaSums[schemaVersion])
	}
	for version := range schemaSums {
		folders := fmt.Sprintf("../../integration/testdata/folders/version%d-*.tar.zst", version)
		if found, err := filepath.Glob(folders); err != nil || len(found) == 0 {
			t.Errorf("no data folder of version %d in %s: %v", version, folders, err)
		}
	}
}
