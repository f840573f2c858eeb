package ingest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unsafe"

	"sekali/aggregator/event"
)

// bulkTopic is for a document that names no index.
const bulkTopic = "elasticsearch"

// BulkItem is one action of an Elasticsearch bulk request, for the answer.
type BulkItem struct {
	Action    string // create or index; of a rejected one what was asked for
	Index, ID string
}

// bulkAction is a line of a bulk body that says what to do with the next.
type bulkAction struct {
	Index string          `json:"_index"`
	RawID json.RawMessage `json:"_id"` // a text, or a number
	ID    string          `json:"-"`
}

// BulkItemBytes is what an item takes beside its texts.
const BulkItemBytes = int(unsafe.Sizeof(BulkItem{}))

// bulk makes the events of a bulk request, and notes each action for the answer.
type bulk struct {
	*builder
	index string // of actions that name none
	items []BulkItem
}

// Bulk maps an Elasticsearch bulk body: topic is _index, event_id is _id, else the document's hash,
// and the time is @timestamp. create and index store; update and delete are rejected, an item each.
// items are in the order of the actions.
func Bulk(in *Input, index string) (r *event.Request, items []BulkItem, err error) {
	all, err := lines(in.Body, 2*event.MaxEventsPerRequest)
	if err != nil {
		return nil, nil, err
	}
	b := bulk{builder: newBuilder(in, bulkTopic, len(in.Body)), index: string(identity([]byte(index)))}
	b.expected = len(all) / 2
	if err := b.hold(splitBytes * len(all)); err != nil {
		return nil, nil, err
	}
	for at := 0; at < len(all); {
		if at, err = b.next(all, at); err != nil {
			return nil, nil, err
		}
	}
	return b.done(), b.items, nil
}

// next takes the action at a line, and returns where the next one is.
func (b *bulk) next(all [][]byte, at int) (int, error) {
	line := all[at]
	at++
	if err := b.look(line); err != nil {
		return at, err
	}
	name, action, err := readAction(line, b.index)
	switch {
	case err != nil && len(b.items) == 0:
		return at, malformed("line %d: %v", at, err)
	case err != nil: // this line alone: the next may be an action
		return at, b.refuse(BadBody, fmt.Sprintf("line %d: %v", at, err), line, "create", bulkAction{})
	case name == "delete", name == "update":
		if name == "update" && at < len(all) {
			line = bytes.Join([][]byte{line, all[at]}, []byte{'\n'}) // its document
			at++
		}
		return at, b.refuse(NotSupported, name+" is not supported: events are stored once, and stay", line, name, action)
	case at == len(all):
		return at, malformed("line %d: there is no document behind the last action", at)
	}
	if err := b.document(action, all[at]); err != nil {
		return at, err
	}
	return at + 1, b.note(name, b.fields.Topic, b.fields.ID)
}

// refusedBytes is what a rejection takes beside its detail, twice, as they are moved.
const refusedBytes = 2 * int(unsafe.Sizeof(event.Rejection{}))

// refuse notes an action that cannot be taken, which is raw in the body.
func (b *bulk) refuse(code event.Code, detail string, raw []byte, name string, action bulkAction) error {
	if err := b.hold(refusedBytes + len(detail)); err != nil {
		return err
	}
	if err := b.Reject(code, detail, raw); err != nil {
		return err
	}
	return b.note(name, identity([]byte(action.Index)), identity([]byte(action.ID)))
}

// note keeps what the answer says of an action.
func (b *bulk) note(action string, index, id []byte) error {
	item := BulkItem{Action: action}
	if n := len(b.items); n > 0 && b.items[n-1].Index == string(index) {
		item.Index = b.items[n-1].Index
	} else {
		item.Index = string(index)
	}
	item.ID = string(id)
	b.items = append(b.items, item)
	return b.hold(2*BulkItemBytes + len(index) + len(id)) // twice, as the items are moved
}

// bulkActions are what a line may ask for.
var bulkActions = []string{"create", "index", "update", "delete"}

// readAction reads an action's only member.
func readAction(line []byte, index string) (name string, action bulkAction, err error) {
	var asked []byte
	if err := members(line, func(member, value []byte) {
		for _, known := range bulkActions {
			if known == string(member) {
				name, asked = known, value
			}
		}
	}); err != nil {
		return "", action, err
	}
	if name == "" {
		return "", action, malformed("want create, index, update or delete")
	}
	if !action.plain(asked) {
		action = bulkAction{}
		err = json.Unmarshal(asked, &action)
	}
	action.ID = text(action.RawID)
	if action.Index == "" {
		action.Index = index
	}
	return name, action, err
}

// plain reads an action in which nothing is but an index and an id, both as short strings, and
// reports whether it is one.
func (a *bulkAction) plain(object []byte) bool {
	usual := true
	return plainMembers(object, func(name, value []byte) {
		text, ok := plainText(value)
		switch {
		case ok && string(name) == "_index":
			a.Index = string(text)
		case ok && string(name) == "_id":
			a.RawID = value
		default:
			usual = false
		}
	}) && usual
}

// document adds an action's document.
func (b *bulk) document(action bulkAction, document []byte) error {
	b.begin()
	if err := b.look(document); err != nil {
		return err
	}
	b.fields.Topic, b.fields.ID = []byte(action.Index), []byte(action.ID)
	if err := b.setPayload(document); err != nil {
		return err
	}
	if t, ok := parseTime(member(b.fields.Payload, "@timestamp")); ok {
		b.setTime(t)
	}
	b.override(b.in)
	if len(b.fields.ID) == 0 {
		b.contentID(b.contentHash(document))
	}
	return b.add()
}

// member is the text of an object's member, "" if there is none.
func member(object []byte, name string) (found string) {
	// Most documents have no such name at all.
	if !bytes.Contains(object, []byte(name)) {
		return ""
	}
	_ = members(object, func(n, value []byte) { // what is no object has none
		if string(n) == name {
			found = text(value)
		}
	})
	return found
}
