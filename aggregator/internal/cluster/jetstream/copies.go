package jetstream

import (
	"context"
	"encoding/json"
)

// pingStreams asks every server for its copies of the streams. The leader's word on the others says
// what they have been told, not what they have stored: one that is being filled is "current" to it.
const pingStreams = "$SYS.REQ.SERVER.PING.JSZ"

// jsz is what is read of a server's answer.
type jsz struct {
	Server struct {
		Name string `json:"name"`
	} `json:"server"`
	Data *struct {
		Accounts []struct {
			Streams []struct {
				Name  string `json:"name"`
				State struct {
					Last uint64 `json:"last_seq"`
				} `json:"state"`
			} `json:"stream_detail"`
		} `json:"account_details"`
	} `json:"data"`
}

// Copies is up to where each server's own copy of the log goes, by the server's name; 0: it has
// none. Who does not answer within proofWait is not in it.
func (l *Log) Copies(ctx context.Context) (ends map[string]uint64, err error) {
	ends = map[string]uint64{}
	err = l.eachServer(ctx, pingStreams, []byte(`{"accounts":true,"streams":true}`), func() bool { return l.allIn(ends) }, func(answer []byte) {
		var said jsz
		if json.Unmarshal(answer, &said) != nil || said.Server.Name == "" || said.Data == nil {
			return
		}
		ends[said.Server.Name] = 0
		for _, account := range said.Data.Accounts {
			for _, s := range account.Streams {
				if s.Name == l.stream() {
					ends[said.Server.Name] = s.State.Last
				}
			}
		}
	})
	return ends, err
}

// allIn reports that every server that is there has answered.
func (l *Log) allIn(ends map[string]uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.peers {
		if _, said := ends[p.Name]; !said && !p.Offline {
			return false
		}
	}
	return len(l.peers) > 0
}
