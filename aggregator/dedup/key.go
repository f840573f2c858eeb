package dedup

// key is an identity as the index keeps it: the topic behind its length, then the id behind its
// length; an id that is a UUID in its usual form is a zero and 16 bytes. Different identities have
// different keys.
type key []byte

const (
	maxKeyBytes  = 2 * (1 + 255)
	uuidBytes    = 36 // as text
	packedID     = 0  // no id is empty, so no length is zero
	packedLength = 16
)

// appendKey appends the key of an identity whose texts have 1 to 255 bytes.
func appendKey(dst []byte, topic, id string) []byte {
	dst = append(dst, byte(len(topic)))
	dst = append(dst, topic...)
	if packed, ok := packUUID(id); ok {
		return append(append(dst, packedID), packed[:]...)
	}
	dst = append(dst, byte(len(id)))
	return append(dst, id...)
}

// packUUID packs an id of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx with lower case digits, and
// only that: two spellings of one UUID are two identities.
func packUUID(id string) (packed [packedLength]byte, ok bool) {
	if len(id) != uuidBytes || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return packed, false
	}
	at := 0
	for i := 0; i < uuidBytes; i += 2 {
		if id[i] == '-' {
			i++
		}
		high, low := digits[id[i]], digits[id[i+1]]
		if high|low > 0xf {
			return packed, false
		}
		packed[at] = high<<4 | low
		at++
	}
	return packed, true
}

// digits are the values of the lower case hexadecimal digits; others are 0xff.
var digits = func() (table [256]byte) {
	for i := range table {
		table[i] = 0xff
	}
	for i, c := range "0123456789abcdef" {
		table[c] = byte(i)
	}
	return table
}()
