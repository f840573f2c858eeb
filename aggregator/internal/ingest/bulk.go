package ingest

import (
	"bytes"
	"encoding/json"
	"fmt"

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

// Bulk maps an Elasticsearch bulk body: topic is _index, event_id is _id, else the document's hash,
// and the time is @timestamp. create and index store; update and delete are rejected, an item each.
// items are in the order of the actions.
func Bulk(in *Input, index string) (r *event.Request, items []BulkItem, err error) {
	b := newBuilder(in, bulkTopic, len(in.Body))
	all, err := lines(in.Body, 2*event.MaxEventsPerRequest)
	if err != nil {
		return nil, nil, err
	}
	for i := 0; i < len(all); i++ {
		name, action, err := readAction(all[i], index)
		if err != nil && len(items) == 0 {
			return nil, nil, malformed("line %d: %v", i+1, err)
		}
		if err != nil { // this line alone: the next may be an action
			if err := b.Reject(BadBody, fmt.Sprintf("line %d: %v", i+1, err), all[i]); err != nil {
				return nil, nil, err
			}
			items = append(items, BulkItem{Action: "create"})
			continue
		}
		item := BulkItem{Action: name, Index: string(identity([]byte(action.Index))), ID: string(identity([]byte(action.ID)))}
		if name == "delete" || name == "update" {
			raw := all[i]
			if name == "update" && i+1 < len(all) {
				i++ // its document
				raw = bytes.Join(all[i-1:i+1], []byte{'\n'})
			}
			if err := b.Reject(NotSupported, name+" is not supported: events are stored once, and stay", raw); err != nil {
				return nil, nil, err
			}
			items = append(items, item)
			continue
		}
		if i++; i == len(all) {
			return nil, nil, malformed("line %d: there is no document behind the last action", i)
		}
		if err := b.document(in, action, all[i], &item); err != nil {
			return nil, nil, err
		}
		items = append(items, item)
	}
	return b.Request, items, nil
}

// readAction reads an action's only member.
func readAction(line []byte, index string) (name string, action bulkAction, err error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(line, &members); err != nil {
		return "", action, err
	}
	for _, name := range []string{"create", "index", "update", "delete"} {
		if raw, ok := members[name]; ok {
			err := json.Unmarshal(raw, &action)
			action.ID = text(action.RawID)
			if action.Index == "" {
				action.Index = index
			}
			return name, action, err
		}
	}
	return "", action, malformed("want create, index, update or delete")
}

func (b *builder) document(in *Input, action bulkAction, document []byte, item *BulkItem) error {
	b.begin()
	b.fields.Topic, b.fields.ID = []byte(action.Index), []byte(action.ID)
	b.fields.Payload = payload(document)
	if t, ok := parseTime(member(b.fields.Payload, "@timestamp")); ok {
		b.setTime(t)
	}
	b.override(in)
	if len(b.fields.ID) == 0 {
		b.contentID(contentHash(document))
	}
	if err := b.add(); err != nil {
		return err
	}
	item.Index, item.ID = string(b.fields.Topic), string(b.fields.ID)
	return nil
}

// member is the text of an object's member, "" if there is none.
func member(object []byte, name string) string {
	// Most documents have no such name at all.
	if !bytes.Contains(object, []byte(name)) {
		return ""
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(object, &members) != nil {
		return ""
	}
	return text(members[name])
}
