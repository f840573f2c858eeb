package aggregator

import (
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"sekali/aggregator/internal/api"
	"sekali/aggregator/internal/stage"
)

// newAdmin serves /metrics and, with profiles, /debug/pprof and the stages that those have. It is a
// server of its own, so that a profile does not wait behind publishers, and a publisher cannot
// reach it.
func newAdmin(metrics http.Handler, public *api.Server, profiles bool) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	if profiles {
		mux.Handle("GET /debug/stages", stage.New())
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return &http.Server{Handler: guarded(mux, public), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
}

// guarded wants a token with the right admin, if there are tokens, from those who do not
// come over the loopback.
func guarded(next http.Handler, public *api.Server) http.Handler {
	return local(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
		if !(ok && at.IP.IsLoopback()) && !public.Admits(r.Header.Get("Authorization")) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "a bearer token is wanted", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// local refuses what a web page of elsewhere sends to a loopback address, pprof's profiles
// included.
func local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		refused := api.CheckOrigin(origin, r.Host)
		if origin == "" {
			refused = api.CheckFetch(r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Sec-Fetch-Dest"))
		}
		if at, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok && at.IP.IsLoopback() && refused == "" {
			refused = api.CheckHost(r.Host)
		}
		if refused != "" {
			http.Error(w, refused, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
