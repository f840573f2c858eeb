package api

import (
	"net"
	"net/url"
	"strings"
)

// CheckHost says why a request to a loopback listener without a token is refused by its Host. A web
// page of a foreign domain reaches the listener once that domain's name is bound to 127.0.0.1, and
// the browser then names the domain. An address is no name that can be bound, a name without a dot
// is nobody's domain, and without a Host it is no browser.
func CheckHost(host string) string {
	name := hostname(host)
	if host == "" || !strings.Contains(name, ".") || isLoopback(name) || net.ParseIP(name) != nil {
		return ""
	}
	return "Host is not this machine's: without -token-file a loopback address is for localhost and addresses alone"
}

// CheckOrigin says why a request that needs no token is refused by its Origin: a web page of
// elsewhere has sent it. Of what such a page loads without one see CheckFetch.
func CheckOrigin(origin, host string) string {
	if origin == "" {
		return ""
	}
	u, err := url.Parse(origin)
	if err == nil && u.Host != "" && (strings.EqualFold(u.Host, host) || isLoopback(hostname(u.Host))) {
		return ""
	}
	return foreignPage
}

const foreignPage = "a web page of elsewhere sent this: without -token-file only pages of this machine may"

// CheckFetch says why a request without an Origin that needs no token is refused by its
// Sec-Fetch-Site and Sec-Fetch-Dest: a web page of elsewhere loads it, as an image or a script. It
// cannot read the answer, but it can have backups made and streams held. A person may follow a
// link.
func CheckFetch(site, destination string) string {
	if site != "cross-site" || destination == "document" {
		return ""
	}
	return foreignPage
}

// hostname is a Host without its port and brackets, in lower case.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

func isLoopback(name string) bool {
	ip := net.ParseIP(name)
	return name == "localhost" || strings.HasSuffix(name, ".localhost") || ip != nil && ip.IsLoopback()
}
