package scenario

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// scalar returns the text of a plain or quoted value, and whether it stood there as a bare number.
func scalar(node ast.Node, want string) (text string, bare bool, err error) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, false, nil
	case *ast.IntegerNode, *ast.FloatNode:
		return node.GetToken().Value, true, nil
	}
	return "", false, refuse(node, "%s is expected here", want)
}

func refuse(node ast.Node, format string, args ...any) error {
	return &yaml.SyntaxError{Message: fmt.Sprintf(format, args...), Token: node.GetToken()}
}

// UnmarshalYAML reads "50/s".
func (r *Rate) UnmarshalYAML(node ast.Node) error {
	text, bare, err := scalar(node, `a rate such as "50/s"`)
	if err != nil {
		return err
	}
	if bare {
		return refuse(node, "%s has no unit: write %s/s", text, text)
	}
	if *r, err = ParseRate(text); err != nil {
		return refuse(node, "%s", err)
	}
	return nil
}

// rateText is of a decimal number: NaN, Inf and hexadecimal, which strconv reads too, are slips
// here.
var rateText = regexp.MustCompile(`^(-?[0-9]+(?:\.[0-9]+)?(?:e[0-9]+)?)/s$`)

// ParseRate reads "50/s".
func ParseRate(text string) (Rate, error) {
	found := rateText.FindStringSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf(`%q is not a rate such as "50/s"`, text)
	}
	value, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		return 0, fmt.Errorf(`%q is not a rate such as "50/s"`, text)
	}
	if value <= 0 {
		return 0, fmt.Errorf("a rate must be above 0, not %s", text)
	}
	return Rate(value), nil
}

// UnmarshalYAML reads "3s" or "250ms".
func (d *Duration) UnmarshalYAML(node ast.Node) error {
	text, bare, err := scalar(node, `a duration such as "3s"`)
	if err != nil {
		return err
	}
	if bare {
		return refuse(node, "%s has no unit: write %ss or %sms", text, text, text)
	}
	value, err := time.ParseDuration(text)
	if err != nil {
		return refuse(node, `%q is not a duration such as "3s" or "250ms"`, text)
	}
	if value < 0 {
		return refuse(node, "a duration must not be negative: %s", text)
	}
	*d = Duration(value)
	return nil
}

// UnmarshalYAML reads a whole number, "any" or "some".
func (c *Count) UnmarshalYAML(node ast.Node) error {
	text, bare, err := scalar(node, `a count, "any" or "some"`)
	if err != nil {
		return err
	}
	if !bare {
		if text != "any" && text != "some" {
			return refuse(node, `%q is not a count, "any" or "some"`, text)
		}
		c.text = text
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return refuse(node, "%s is not a count of 0 or more", text)
	}
	*c = Exactly(n)
	return nil
}

// kindName says in words what a value should have been.
func kindName(kind reflect.Kind) string {
	switch kind {
	case reflect.Int, reflect.Int64, reflect.Uint64, reflect.Int32, reflect.Uint32:
		return "a whole number in range"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Slice:
		return "a list"
	}
	return "a mapping of names to values"
}
