package main

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"sekali/internal/certificate"
	"sekali/internal/settings"
)

// fixed is what no flag changes, but for -lab-lazy-sync.
//
//go:embed server.conf
var fixed string

const natsVersion = server.VERSION

// errConfig marks what whoever starts it has to change.
var errConfig = errors.New("configuration")

func misconfigured(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errConfig, fmt.Errorf(format, args...))
}

// The users of the log. Without a token, who comes is user.
const user, systemUser = "sekali", "system"

// lameDuck bounds a graceful stop. It is less than a file of settings may have.
const lameDuck = 10 * time.Second

type config struct {
	name, dir              string
	listen, cluster        string
	routes                 string
	storeBytes             int64
	tokenFile              string
	tlsCert, tlsKey, tlsCA string
	insecure, replace      bool
	labLazy                bool
}

func defaults() config {
	return config{listen: "127.0.0.1:4222", cluster: "127.0.0.1:6222", storeBytes: 16 << 30}
}

func (c *config) flags() *flag.FlagSet {
	flags := flag.NewFlagSet("sekali-log", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	settings.Declare(flags)
	flags.StringVar(&c.name, "name", "", "`name` of this server, another one on each machine")
	flags.StringVar(&c.dir, "dir", "", "`folder` of the log; created with mode 0700")
	flags.StringVar(&c.listen, "listen", c.listen, "`address` for aggregators; port 0 picks one")
	flags.StringVar(&c.cluster, "cluster-listen", c.cluster, "`address` for the other servers")
	flags.StringVar(&c.routes, "routes", "", "`addresses` of the servers' -cluster-listen, with commas; this one's may be among them")
	flags.Int64Var(&c.storeBytes, "store-bytes", c.storeBytes, "most `bytes` that logs may be given on this disk")
	flags.StringVar(&c.tokenFile, "token-file", "", "`file` of the token that aggregators and the other servers must have")
	flags.StringVar(&c.tlsCert, "tls-cert", "", "certificate `file`, for aggregators and for the other servers")
	flags.StringVar(&c.tlsKey, "tls-key", "", "key `file`")
	flags.StringVar(&c.tlsCA, "tls-ca", "", "`file` of the authority that has signed the other servers' certificates")
	flags.BoolVar(&c.insecure, "insecure", false, "allow a non-loopback address with no token")
	flags.BoolVar(&c.replace, "replace", false, "take the place of a server of this name whose folder is lost")
	flags.BoolVar(&c.labLazy, "lab-lazy-sync", false, "for measurements: answer before it is synced; aggregators see it, and promise nothing beyond their journal")
	return flags
}

// A name is a part of subjects and of file names; another part is put behind it.
var named = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

// check names the first setting that cannot be.
func (c *config) check() error {
	if !named.MatchString(c.name) {
		return misconfigured("-name=%q, want 1 to 63 letters, digits, - and _", c.name)
	}
	if c.dir == "" {
		return misconfigured("-dir is empty")
	}
	for _, a := range []struct{ flag, address string }{{"listen", c.listen}, {"cluster-listen", c.cluster}} {
		host, _, err := split(a.address)
		if err != nil {
			return misconfigured("-%s=%q: %w", a.flag, a.address, err)
		}
		ip := net.ParseIP(host)
		if host != "localhost" && (ip == nil || !ip.IsLoopback()) && !c.insecure && c.tokenFile == "" {
			return misconfigured("-%s=%s is not a loopback address: give -token-file, or say -insecure", a.flag, a.address)
		}
	}
	if c.routes == "" {
		return misconfigured("-routes is missing: want the addresses of the servers' -cluster-listen, with commas")
	}
	routes := strings.Split(c.routes, ",")
	for _, route := range routes {
		if _, port, err := split(route); err != nil {
			return misconfigured("-routes: %q: %w", route, err)
		} else if port == 0 {
			return misconfigured("-routes: %q has no port", route)
		}
	}
	if len(routes) < 2 {
		return misconfigured("-routes=%s, want the addresses of the other servers, two at least", c.routes)
	}
	if c.storeBytes < 64<<20 {
		return misconfigured("-store-bytes=%d, want %d at least", c.storeBytes, 64<<20)
	}
	given := 0
	for _, file := range []string{c.tlsCert, c.tlsKey, c.tlsCA} {
		if file != "" {
			given++
		}
	}
	if given != 0 && given != 3 {
		return misconfigured("-tls-cert, -tls-key and -tls-ca go together")
	}
	return nil
}

// split is an address as the flags have it.
func split(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q is no port", text)
	}
	return host, int(n), nil
}

// options are the server's. A port of 0 is -1 there.
func (c *config) options(serverName string, log *slog.Logger) (*server.Options, error) {
	o := &server.Options{NoSigs: true, DisableJetStreamBanner: true}
	if err := o.ProcessConfigString(fixed); err != nil {
		return nil, err
	}
	if c.labLazy {
		o.SyncAlways = false // the interval is the default
	}
	o.ServerName = serverName
	o.Metadata = map[string]string{"name": c.name}
	o.LameDuckDuration = lameDuck
	o.StoreDir, o.JetStreamMaxStore = c.dir, c.storeBytes
	o.Host, o.Port, _ = split(c.listen)
	o.Cluster.Host, o.Cluster.Port, _ = split(c.cluster)
	for _, port := range []*int{&o.Port, &o.Cluster.Port} {
		if *port == 0 {
			*port = server.RANDOM_PORT
		}
	}
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	var between *url.Userinfo
	if token != "" {
		between = url.UserPassword(user, token)
		o.Cluster.Username, o.Cluster.Password = user, token
	} else {
		o.NoAuthUser = user
	}
	for _, u := range o.Users {
		if u.Password = token; token == "" {
			u.Password = u.Username
		}
	}
	for _, route := range strings.Split(c.routes, ",") {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", Host: route, User: between})
	}
	return o, c.encrypt(o, log)
}

// token is what -token-file has, "" without it.
func (c *config) token() (string, error) {
	if c.tokenFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(c.tokenFile)
	if err != nil {
		return "", misconfigured("-token-file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", misconfigured("-token-file: %s is empty", c.tokenFile)
	}
	return token, nil
}

// encrypt gives both listeners the certificate, and takes a renewed one without a restart. Servers
// have to show each other one of -tls-ca.
func (c *config) encrypt(o *server.Options, log *slog.Logger) error {
	if c.tlsCert == "" {
		return nil
	}
	pair, err := certificate.Open(c.tlsCert, c.tlsKey, log)
	if err != nil {
		return misconfigured("%w", err)
	}
	authority := server.TLSConfigOpts{CaFile: c.tlsCA}
	if o.TLSConfig, err = server.GenTLSConfig(&authority); err != nil {
		return misconfigured("-tls-ca: %w", err)
	}
	authority.Verify = true
	if o.Cluster.TLSConfig, err = server.GenTLSConfig(&authority); err != nil {
		return misconfigured("-tls-ca: %w", err)
	}
	o.Cluster.TLSConfig.RootCAs = o.Cluster.TLSConfig.ClientCAs
	o.TLSConfig.GetCertificate, o.Cluster.TLSConfig.GetCertificate = pair.Server, pair.Server
	o.Cluster.TLSConfig.GetClientCertificate = pair.Client
	o.TLS, o.TLSTimeout, o.Cluster.TLSTimeout = true, 5, 5
	return nil
}

// file is one of sekali-log's own in the folder; JetStream's are in one beside them.
func (c *config) file(name string) string { return filepath.Join(c.dir, name) }
