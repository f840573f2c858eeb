package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ErrForeignWAL means a WAL beside a database that it does not belong to. SQLite would lay it over
// the database all the same.
var ErrForeignWAL = errors.New("belongs to another database than lies beside it, as after a backup was copied over events.db: " +
	"if that is what is wanted, remove the -wal and the -shm file; what was committed since the backup is in that WAL alone")

// Places in the first page of a database, and in a WAL and its frames
// (sqlite.org/fileformat2.html).
const (
	headerBytes    = 100
	readVersionAt  = 19 // 2: written with a WAL
	schemaCookieAt = 40 // rises with each change of the schema, and with each VACUUM INTO
)

// belongs refuses a database beside whose path lies a WAL of another one: of a copy that VACUUM
// INTO has made and nobody has opened, of one whose schema is further than the WAL's, and of no
// database at all. It returns what SQLite will find in the WAL. It is called before anybody in this
// process opens the file.
func belongs(path string) (w walFound, err error) {
	wal, err := os.Open(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return w, nil
	}
	if err != nil {
		return w, err
	}
	defer wal.Close()
	info, err := wal.Stat()
	if err != nil {
		return w, err
	}
	w, err = readWAL(bufio.NewReaderSize(wal, 1<<20))
	w.bytes = info.Size()
	if err != nil || w.frames == 0 {
		return w, err
	}
	header, err := databaseHeader(path)
	if err != nil {
		return w, err
	}
	if header == nil || header[readVersionAt] != 2 || w.cookie > 0 && binary.BigEndian.Uint32(header[schemaCookieAt:]) > w.cookie {
		return w, fmt.Errorf("%s-wal %w", path, ErrForeignWAL)
	}
	return w, nil
}

// databaseHeader is the beginning of the database; nil: there is none.
func databaseHeader(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	header := make([]byte, headerBytes)
	if _, err := io.ReadFull(f, header); err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return header, nil
}

// walFound is what SQLite finds in a WAL.
type walFound struct {
	bytes  int64  // of the file
	end    int64  // where its whole frames end
	frames int    // whole ones
	taken  int    // of them those that SQLite takes: up to the last commit
	cookie uint32 // the highest schema cookie of the whole ones
	wrong  string // what is wrong behind them; "": nothing is, or what lies there is of an earlier log
}

// readWAL reads the whole frames of a WAL.
func readWAL(r io.Reader) (w walFound, err error) {
	header := make([]byte, walHeaderBytes)
	if n, err := io.ReadFull(r, header); err != nil {
		if n > 0 {
			w.wrong = "it is cut within its header"
		}
		return w, noEOF(err)
	}
	order := binary.ByteOrder(binary.LittleEndian)
	magic := binary.BigEndian.Uint32(header)
	if magic&1 == 1 {
		order = binary.BigEndian
	}
	size := binary.BigEndian.Uint32(header[8:])
	sum := walSum(order, [2]uint32{}, header[:24])
	if magic&^1 != 0x377f0682 || size < 512 || size > 64<<10 || sum != sumAt(header[24:]) {
		w.wrong = "its header is not as SQLite has written it"
		return w, nil // SQLite takes nothing from it
	}
	w.end = walHeaderBytes
	frame := make([]byte, frameHeaderBytes+size)
	for {
		if n, err := io.ReadFull(r, frame); err != nil {
			if n > 0 {
				w.wrong = "it is cut within a page"
			}
			return w, noEOF(err)
		}
		sum = walSum(order, walSum(order, sum, frame[:8]), frame[frameHeaderBytes:])
		if string(frame[8:16]) != string(header[16:24]) { // of an earlier log
			return w, nil
		}
		if sum != sumAt(frame[16:]) {
			w.wrong = "a page is not what its checksum says"
			return w, nil
		}
		w.frames++
		w.end += int64(len(frame))
		if binary.BigEndian.Uint32(frame) == 1 {
			w.cookie = max(w.cookie, binary.BigEndian.Uint32(frame[frameHeaderBytes+schemaCookieAt:]))
		}
		if binary.BigEndian.Uint32(frame[4:]) > 0 { // the end of a commit
			w.taken = w.frames
		}
	}
}

func noEOF(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}

// walSum goes on with a WAL's checksum over b, of whole eights of bytes.
func walSum(order binary.ByteOrder, sum [2]uint32, b []byte) [2]uint32 {
	for ; len(b) >= 8; b = b[8:] {
		sum[0] += order.Uint32(b) + sum[1]
		sum[1] += order.Uint32(b[4:]) + sum[0]
	}
	return sum
}

func sumAt(b []byte) [2]uint32 {
	return [2]uint32{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}
