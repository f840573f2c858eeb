package scenario

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

const (
	keysPage = "../../docs/reference/scenarios.md"
	keysHead = "| key | is | meaning |\n|---|---|---|\n"
)

// kinds are how a value is written in the file.
var kinds = map[reflect.Type]string{
	reflect.TypeFor[Rate]():          "requests a second, `50/s`",
	reflect.TypeFor[Duration]():      "a time, `3s`",
	reflect.TypeFor[time.Duration](): "a time, `3s`",
	reflect.TypeFor[Count]():         "a number, `any` or `some`",
}

// keysOf lists a struct's keys in their order, with what their values are.
func keysOf(t *testing.T, prefix string, of reflect.Type, add func(key, is string)) {
	t.Helper()
	for i := range of.NumField() {
		field := of.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		typ, key := field.Type, prefix+name
		if typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Struct {
			typ, key = typ.Elem(), key+"[]"
		}
		switch {
		case kinds[typ] != "":
			add(key, kinds[typ])
		case typ.Kind() == reflect.Struct:
			keysOf(t, key+".", typ, add)
		case typ.Kind() == reflect.String:
			add(key, "text")
		case typ.Kind() == reflect.Bool:
			add(key, "`true` or `false`")
		case typ.Kind() == reflect.Slice:
			add(key, "a list")
		default:
			add(key, "a number")
		}
	}
}

// TestReferenceOfKeys: the page has every key of a case's settings, in the code's order, and what
// its value is. The meanings are written by hand, and none may be missing. The table is written by
// go test ./bench/scenario -run Reference -update.
func TestReferenceOfKeys(t *testing.T) {
	page, err := os.ReadFile(keysPage)
	if err != nil {
		t.Fatal(err)
	}
	before, table, ok := strings.Cut(string(page), keysHead)
	if !ok {
		t.Fatalf("%s has no table of keys", keysPage)
	}
	meanings := map[string]string{}
	for line := range strings.Lines(table) {
		if cells := strings.SplitN(strings.Trim(line, "| \n"), " | ", 3); len(cells) == 3 {
			meanings[strings.Trim(cells[0], "`")] = cells[2]
		}
	}
	var want strings.Builder
	keysOf(t, "", reflect.TypeFor[Settings](), func(key, is string) {
		if meanings[key] == "" && !*update {
			t.Errorf("%s says nothing about %s", keysPage, key)
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", key, is, meanings[key])
	})
	whole := before + keysHead + want.String() // the page ends with its table
	if *update {
		if err := os.WriteFile(keysPage, []byte(whole), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if whole != string(page) {
		t.Errorf("%s is not what the code has: go test ./bench/scenario -run Reference -update", keysPage)
	}
}
