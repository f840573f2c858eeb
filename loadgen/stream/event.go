package stream

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"time"
)

// Originals happen every 100 µs from epoch on: the stream has a clock of its
// own, since a clock on the wall would make no two runs equal.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	originalsPerSecond = 10_000
	secondsPerDay      = 24 * 60 * 60
)

// hosts is the number of different sources, "host-00" to "host-99".
const hosts = 100

var (
	levels   = [8]string{"debug", "info", "info", "info", "info", "info", "warn", "error"}
	services = [8]string{"api", "auth", "billing", "cart", "catalog", "checkout", "search", "shipping"}
)

// AppendEvent appends the JSON object of the n-th event.
func (s *Stream) AppendEvent(dst []byte, n uint64) []byte {
	if s.config.Shape == ShapeMixed {
		return s.appendMixed(dst, s.Original(n), s.Variant(n), s.escaped(n))
	}
	return s.AppendOriginal(dst, s.Original(n))
}

// AppendOriginal appends the JSON object of an original.
func (s *Stream) AppendOriginal(dst []byte, original uint64) []byte {
	if s.config.Shape == ShapeMixed {
		return s.appendMixed(dst, original, false, false)
	}
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
	if s.config.Shape == ShapeMixed {
		return s.mixedEvent(original)
	}
	fields := mix(s.keys.fields, original)
	e := Event{Topic: s.topic(fields)}
	// On the stack: make verify comes by here for each event of the reference.
	var text [512]byte
	e.EventID = string(s.appendID(text[:0], original))
	e.Timestamp = string(appendTimestamp(text[:0], original))
	e.Source = string(appendSource(text[:0], fields))
	e.Payload = string(s.appendPayload(text[:0], original, fields))
	return e
}

// Is reports that fields are those of an original, byte for byte. Of a plain stream it takes no
// memory, where Event takes some for each of them.
func (s *Stream) Is(original uint64, topic, id, timestamp, source, payload []byte) bool {
	if s.config.Shape == ShapeMixed {
		e := s.mixedEvent(original)
		return e == Event{string(topic), string(id), string(timestamp), string(source), string(payload)}
	}
	fields := mix(s.keys.fields, original)
	var text [512]byte
	return string(topic) == s.topic(fields) &&
		bytes.Equal(id, s.appendID(text[:0], original)) &&
		bytes.Equal(timestamp, appendTimestamp(text[:0], original)) &&
		bytes.Equal(source, appendSource(text[:0], fields)) &&
		bytes.Equal(payload, s.appendPayload(text[:0], original, fields))
}

// Each field takes its own bits of the hash.
func (s *Stream) topic(fields uint64) string {
	return s.topics[fields>>32*uint64(len(s.topics))>>32]
}

func appendSource(dst []byte, fields uint64) []byte {
	host := fields & 0xffff % hosts
	return append(dst, 'h', 'o', 's', 't', '-', byte('0'+host/10), byte('0'+host%10))
}

// appendTimestamp appends RFC 3339 with four decimals, 25 bytes. time.AppendFormat
// took a third of the whole event.
func appendTimestamp(dst []byte, original uint64) []byte {
	second, fraction := original/originalsPerSecond, original%originalsPerSecond
	year, month, day := time.Unix(epoch.Unix()+int64(second), 0).UTC().Date()
	second %= secondsPerDay
	dst = append2(append2(dst, uint64(year/100)), uint64(year%100))
	dst = append2(append(dst, '-'), uint64(month))
	dst = append2(append(dst, '-'), uint64(day))
	dst = append2(append(dst, 'T'), second/3600)
	dst = append2(append(dst, ':'), second/60%60)
	dst = append2(append(dst, ':'), second%60)
	dst = append2(append2(append(dst, '.'), fraction/100), fraction%100)
	return append(dst, 'Z')
}

// append2 appends two decimal digits.
func append2(dst []byte, v uint64) []byte {
	return append(dst, byte('0'+v/10), byte('0'+v%10))
}

// appendID appends a UUID in its text form, 36 bytes. "time" is UUIDv7 as in
// RFC 9562, 6.2, method 3: milliseconds, then the fraction of the millisecond
// in the 12 bits after the version, so that ids rise with originals.
func (s *Stream) appendID(dst []byte, original uint64) []byte {
	high, low := mix(s.keys.idHigh, original), mix(s.keys.idLow, original)
	if s.config.IDs == IDsTime {
		const perMilli = originalsPerSecond / 1000
		high = (uint64(epoch.UnixMilli())+original/perMilli)<<16 | 0x7000 | original%perMilli<<12/perMilli
	} else {
		high = high&^0xf000 | 0x4000
	}
	low = low&^(3<<62) | 2<<62
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], high)
	binary.BigEndian.PutUint64(raw[8:], low)
	dst = hex.AppendEncode(dst, raw[:4])
	dst = hex.AppendEncode(append(dst, '-'), raw[4:6])
	dst = hex.AppendEncode(append(dst, '-'), raw[6:8])
	dst = hex.AppendEncode(append(dst, '-'), raw[8:10])
	return hex.AppendEncode(append(dst, '-'), raw[10:])
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
