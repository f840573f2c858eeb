package dedup

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"

	"github.com/dchest/siphash"
)

// key is an identity as the index keeps it: a prefix, which is the topic behind its length and the
// form of the id, and then the id in that form. Different identities have different keys.
type key []byte

// The forms of an id.
const (
	uuidID = iota // 36 bytes of text are 16, which a hasher has permuted
	hexID         // so are 32 lower case hexadecimal digits
	textID        // as it is
)

const (
	maxKeyBytes = 1 + 255 + 1 + 255
	packedBytes = 16 // of an id that is not a text
)

// prefixBytes is the length of the prefix that data begins with; data may be too short for it.
func prefixBytes(data []byte) int { return 1 + int(data[0]) + 1 }

// formOf returns the form that a prefix names.
func formOf(prefix []byte) byte { return prefix[len(prefix)-1] }

// hasher gives keys their hashes. No publisher can know them.
type hasher interface {
	// text is the hash of a key.
	text(k []byte) uint64
	// permute puts another id in the place of a packed one. Under one prefix, different ids become
	// different ones. Their first eight bytes are the key's hash, so that a run need not have both.
	permute(prefix, id []byte)
}

// appendKey appends the key of an identity whose texts have 1 to 255 bytes, and returns its hash.
func appendKey(h hasher, dst []byte, topic, id string) (_ []byte, hash uint64) {
	from := len(dst)
	dst = append(dst, byte(len(topic)))
	dst = append(dst, topic...)
	packed, form := packID(id)
	dst = append(dst, form)
	if form == textID {
		dst = append(dst, id...)
		return dst, h.text(dst[from:])
	}
	behind := len(dst)
	dst = append(dst, packed[:]...)
	h.permute(dst[from:behind], dst[behind:])
	return dst, binary.BigEndian.Uint64(dst[behind:])
}

const (
	uuidBytes = 36 // as text
	hexBytes  = 32
)

// packID packs an id of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx or of 32 digits, both with
// lower case digits, and only those: two spellings of one UUID are two identities.
func packID(id string) (packed [packedBytes]byte, form byte) {
	switch {
	case len(id) == hexBytes:
		form = hexID
	case len(id) == uuidBytes && id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-':
		form = uuidID
	default:
		return packed, textID
	}
	for i, at := 0, 0; at < packedBytes; i, at = i+2, at+1 {
		if form == uuidID && (i == 8 || i == 13 || i == 18 || i == 23) { // the dashes, and no other
			i++
		}
		high, low := digits[id[i]], digits[id[i+1]]
		if high|low > 0xf {
			return packed, textID
		}
		packed[at] = high<<4 | low
	}
	return packed, form
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

// secretHasher hashes by SipHash and permutes by AES, both with the secret as their key.
type secretHasher struct {
	k0, k1 uint64
	cipher cipher.Block
}

func newHasher(secret []byte) (*secretHasher, error) {
	if len(secret) != SecretBytes {
		return nil, fmt.Errorf("a secret of %d bytes, want %d", len(secret), SecretBytes)
	}
	c, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	return &secretHasher{binary.LittleEndian.Uint64(secret), binary.LittleEndian.Uint64(secret[8:]), c}, nil
}

func (h *secretHasher) text(k []byte) uint64 { return siphash.Hash(h.k0, h.k1, k) }

// permute: the prefix is mixed in, so that an id has another hash under each topic.
func (h *secretHasher) permute(prefix, id []byte) {
	first := binary.LittleEndian.Uint64(id) ^ siphash.Hash(h.k0, h.k1, prefix)
	binary.LittleEndian.PutUint64(id, first)
	h.cipher.Encrypt(id, id)
}
