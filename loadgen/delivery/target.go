package delivery

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// AckLevels are what ?ack= may be; "" leaves it to the aggregator.
var AckLevels = []string{"", "memory", "journal", "replicated", "store"}

// Target is where requests go, from the aggregator's URL.
func Target(aggregator, ackLevel string) (*url.URL, error) {
	target, err := url.Parse(aggregator)
	if err != nil || target.Scheme != "http" && target.Scheme != "https" || target.Host == "" {
		return nil, fmt.Errorf("%q is not a URL of the form http://host:port", aggregator)
	}
	if !slices.Contains(AckLevels, ackLevel) {
		return nil, fmt.Errorf("ack level %q is not memory, journal, replicated or store", ackLevel)
	}
	target.Path = strings.TrimSuffix(target.Path, "/") + "/publish"
	target.RawQuery = ""
	if ackLevel != "" {
		target.RawQuery = "ack=" + ackLevel
	}
	return target, nil
}
