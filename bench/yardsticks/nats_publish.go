package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// natsPublisher publishes with JetStream's fast ingest (ADR-50; nats.go has no client of it yet):
// its messages are one batch that the server acknowledges every few hundred messages, not one by
// one. What a message says of itself is in its reply subject: <inbox>.<batch>.<messages per
// acknowledgement>.<what a gap does>.<number>.<operation>.$FI
type natsPublisher struct {
	conn               *nats.Conn
	reply              string // up to the number
	answers            chan *nats.Msg
	sent, acknowledged uint64
	committed          bool
}

// The operations of fast ingest.
const (
	natsBegin  = "0"
	natsAppend = "1"
	natsCommit = "3" // the message ends the batch and is not stored
)

// natsAnswers bounds the answers that wait to be read; there are fewer than messages under way.
const natsAnswers = 2 * natsPending

func newNATSPublisher(conn *nats.Conn) (*natsPublisher, error) {
	inbox := nats.NewInbox()
	p := &natsPublisher{conn: conn, reply: inbox + "." + nuid.Next() + ".500.fail.", answers: make(chan *nats.Msg, natsAnswers)}
	_, err := conn.ChanSubscribe(inbox+".>", p.answers)
	return p, err
}

// publish sends a message; it waits while natsPending are under way.
func (p *natsPublisher) publish(m *nats.Msg) error {
	operation := natsAppend
	if p.sent == 0 {
		operation = natsBegin
	}
	return p.send(m, operation)
}

func (p *natsPublisher) send(m *nats.Msg, operation string) error {
	for p.sent-p.acknowledged >= natsPending {
		if err := p.await(); err != nil {
			return err
		}
	}
	p.sent++
	m.Reply = p.reply + strconv.FormatUint(p.sent, 10) + "." + operation + ".$FI"
	return p.conn.PublishMsg(m)
}

// commit ends the batch, and returns once all of it is stored.
func (p *natsPublisher) commit() error {
	if p.sent == 0 {
		return nil
	}
	if err := p.send(nats.NewMsg(natsSubject("end")), natsCommit); err != nil {
		return err
	}
	for !p.committed {
		if err := p.await(); err != nil {
			return err
		}
	}
	return nil
}

// await takes the next answer: an acknowledgement up to a number, or of the whole batch, or an
// error.
func (p *natsPublisher) await() error {
	var m *nats.Msg
	select {
	case m = <-p.answers:
	case <-time.After(requestTimeout):
		return fmt.Errorf("nats: %d messages of %d were acknowledged, and none for %s", p.acknowledged, p.sent, requestTimeout)
	}
	var answer struct {
		Type  string          `json:"type"` // ack, gap or err; none: of the whole batch
		Seq   uint64          `json:"seq"`
		Error json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return fmt.Errorf("nats: %q: %w", m.Data, err)
	}
	switch {
	case answer.Error != nil || answer.Type != "" && answer.Type != "ack":
		return errors.New("nats: " + string(m.Data))
	case answer.Type == "":
		p.committed = true
	default:
		p.acknowledged = answer.Seq
	}
	return nil
}
