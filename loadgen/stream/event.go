package stream

import (
	"bytes"
	"strconv"
	"time"
)

// Originals happen every 100 µs from epoch on: the stream has a clock of its
// own, since a clock on the wall would make no two runs equal.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const originalEvery = 100 * time.Microsecond

// hosts is the number of different sources, "host-00" to "host-99".
const hosts = 100

var (
	levels   = [8]string{"debug", "info", "info", "info", "info", "info", "warn", "error"}
	services = [8]string{"api", "auth", "billing", "cart", "catalog", "checkout", "search", "shipping"}
)

// AppendEvent appends the JSON object of the n-th event.
func (s *Stream) AppendEvent(dst []byte, n uint64) []byte {
	return s.AppendOriginal(dst, s.Original(n))
}

// AppendOriginal appends the JSON object of an original.
func (s *Stream) AppendOriginal(dst []byte, original uint64) []byte {
	fields := mix(s.keys.fields, original)
	dst = append(dst, `{"topic":"`...)
	dst = append(dst, s.topic(fields)...)
	dst = append(dst, `","event_id":"`...)
	dst = s.appendID(dst, original)
	dst = append(dst, `","timestamp":"`...)
	dst = appendTimestamp(dst, original)
	dst = append(dst, `","source":"`...)
	dst = appendSource(dst, fields)
	dst = append(dst, `","payload":`...)
	dst = s.appendPayload(dst, original, fields)
	return append(dst, '}')
}

// Event is an original as the aggregator must give it back.
func (s *Stream) Event(original uint64) Event {
	fields := mix(s.keys.fields, original)
	return Event{
		Topic:     s.topic(fields),
		EventID:   string(s.appendID(nil, original)),
		Timestamp: string(appendTimestamp(nil, original)),
		Source:    string(appendSource(nil, fields)),
		Payload:   string(s.appendPayload(nil, original, fields)),
	}
}

// Each field takes its own bits of the hash.
func (s *Stream) topic(fields uint64) string {
	return s.topics[fields>>32*uint64(len(s.topics))>>32]
}

func appendSource(dst []byte, fields uint64) []byte {
	host := fields & 0xffff % hosts
	return append(dst, 'h', 'o', 's', 't', '-', byte('0'+host/10), byte('0'+host%10))
}

func happenedAt(original uint64) time.Time {
	return epoch.Add(time.Duration(original) * originalEvery)
}

func appendTimestamp(dst []byte, original uint64) []byte {
	return happenedAt(original).AppendFormat(dst, time.RFC3339Nano)
}

// appendID appends a UUID in its text form, 36 bytes. "time" is UUIDv7 as in
// RFC 9562, 6.2, method 3: milliseconds, then the fraction of the millisecond
// in the 12 bits after the version, so that ids rise with originals.
func (s *Stream) appendID(dst []byte, original uint64) []byte {
	high, low := mix(s.keys.idHigh, original), mix(s.keys.idLow, original)
	if s.config.IDs == IDsTime {
		at := happenedAt(original)
		fraction := uint64(at.Nanosecond()%1e6) << 12 / 1e6
		high = uint64(at.UnixMilli())<<16 | 0x7000 | fraction
	} else {
		high = high&^0xf000 | 0x4000
	}
	low = low&^(3<<62) | 2<<62
	dst = appendHex(dst, high>>32, 8)
	dst = appendHex(append(dst, '-'), high>>16, 4)
	dst = appendHex(append(dst, '-'), high, 4)
	dst = appendHex(append(dst, '-'), low>>48, 4)
	return appendHex(append(dst, '-'), low, 12)
}

// appendHex appends the low digits of v.
func appendHex(dst []byte, v uint64, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[v>>shift&0xf])
	}
	return dst
}

const payloadStart = `{"n":`

// appendPayload appends a log record of exactly PayloadBytes: its message is
// a piece of text as long as needed, begun at a place that depends on the
// original. It compresses as text does, about 1:5.
func (s *Stream) appendPayload(dst []byte, original, fields uint64) []byte {
	end := len(dst) + s.config.PayloadBytes - len(`"}`)
	dst = strconv.AppendUint(append(dst, payloadStart...), original, 10)
	dst = append(dst, `,"level":"`...)
	dst = append(dst, levels[fields>>16&7]...)
	dst = append(dst, `","service":"`...)
	dst = append(dst, services[fields>>19&7]...)
	dst = append(dst, `","message":"`...)
	for at := fields >> 22 & 0x3ff % uint64(len(text)); len(dst) < end; at = 0 {
		dst = append(dst, text[at:min(len(text), int(at)+end-len(dst))]...)
	}
	return append(dst, `"}`...)
}

// OriginalOf is the number of the original that a payload of a stream belongs
// to; false if it is not of that form. It proves nothing about the rest of the
// payload: compare that with Event.
func OriginalOf(payload []byte) (uint64, bool) {
	rest, ok := bytes.CutPrefix(payload, []byte(payloadStart))
	if !ok {
		return 0, false
	}
	digits := bytes.IndexByte(rest, ',')
	if digits < 0 || digits > 20 { // 20 digits hold any uint64
		return 0, false
	}
	original, err := strconv.ParseUint(string(rest[:digits]), 10, 64)
	return original, err == nil
}

// text is what messages are cut from. It needs no escape in JSON.
const text = "GET /api/v1/orders/48213 200 in 14 ms; cache miss for key user:9913:profile, fetched from replica 2; " +
	"retrying upstream payments.internal:443 after connection reset by peer, attempt 2 of 5; session refreshed; " +
	"POST /api/v1/cart/items 201 in 31 ms; slow query: SELECT id, total FROM invoices WHERE account = 7741 took 212 ms; " +
	"worker 6 picked job thumbnail-resize from queue media, 18 waiting; token expired for client mobile-ios/7.2.1; " +
	"rate limit reached for 10.2.41.7, window 60 s; garbage collection finished, pause 1.8 ms, heap 212 MB; " +
	"shipment 771203 handed to carrier, tracking 1Z999AA10123456784; webhook delivered to partner 31 in 122 ms; " +
	"DELETE /api/v1/sessions/current 204 in 3 ms; config reloaded, 14 keys changed; disk usage of /var at 71 percent; " +
	"search for blue running shoes returned 138 hits in 9 ms; index segment merged, 48 MB, 210344 documents; "
