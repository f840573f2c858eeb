package record

import (
	"path/filepath"
	"time"

	"sekali/loadgen/stream"
)

// YardsticksFile is what `make yardsticks` leaves behind.
const YardsticksFile = "yardsticks.json"

// Sekali is the id of the system that every yardstick is compared with.
const Sekali = "sekali"

// AppendAlone is the ID of a loop that appends the same rows to SQLite: no server, no dedup.
const AppendAlone = "sqlite-append"

// Yardsticks are other systems and Sekali, measured in turn with the same events.
type Yardsticks struct {
	Format           int           `json:"format"`
	StartedAt        time.Time     `json:"started_at"`
	Environment      Environment   `json:"environment"`
	Stream           stream.Config `json:"stream"`
	EventsPerRequest int           `json:"events_per_request"`
	Systems          []Yardstick   `json:"systems"`
}

// Yardstick is one system and what it did in each round.
type Yardstick struct {
	ID       string           `json:"id"`
	Name     string           `json:"name"`
	Version  string           `json:"version"`
	Durable  string           `json:"durable"`  // what an event survives that counts as stored
	Dedup    string           `json:"dedup"`    // what it takes for a repeat, and for how long
	Includes string           `json:"includes"` // what the time is spent on
	Settings []string         `json:"settings"` // those that differ from the system's own
	Skipped  string           `json:"skipped"`  // why it was not measured; "": it was
	Rounds   []YardstickRound `json:"rounds"`   // in order; those of one number ran one after the other

	// What follows from the rounds. Zero where the system was skipped.
	EventsPerS          Spread   `json:"events_per_s"`
	EventsReadPerS      float64  `json:"events_read_per_s,omitempty"` // median
	SekaliRatio         Spread   `json:"sekali_ratio"`                // Sekali's events/s by this system's, round by round; zero without Sekali
	ClientCPUUSPerEvent float64  `json:"client_cpu_us_per_event"`     // median; of the whole work where there is no server
	ServerCPUUSPerEvent *float64 `json:"server_cpu_us_per_event"`     // median; null: there is no server
	ServerMemoryBytes   *int64   `json:"server_memory_bytes"`         // largest; null: there is no server
	// Medians, of an event that is no repeat, so that who stores repeats has what they take counted
	// in. Zero where it was not measured.
	BytesWrittenPerEvent float64 `json:"bytes_written_per_event,omitempty"`
	BytesKeptPerEvent    float64 `json:"bytes_kept_per_event,omitempty"`
}

// YardstickRound is an empty system filled once.
type YardstickRound struct {
	Events            int      `json:"events"`                // sent, repeats included
	Expected          int      `json:"expected"`              // to be stored of them
	Stored            int      `json:"stored"`                // counted afterwards
	Seconds           float64  `json:"seconds"`               // from the first request to the last event stored
	EventsRead        int      `json:"events_read,omitempty"` // by a reader, until the last event was stored; 0: there was none
	ClientCPUS        float64  `json:"client_cpu_s"`
	ServerCPUS        *float64 `json:"server_cpu_s"`
	ServerMemoryBytes *int64   `json:"server_memory_bytes"` // proportional set size at the end
	// From the start on an empty folder to the end of a clean stop. 0: not measured.
	BytesWritten int64 `json:"bytes_written,omitempty"` // handed to the block layer
	BytesKept    int64 `json:"bytes_kept,omitempty"`    // that the folder takes on the disk then, but for a log whose room is used again
}

// Spread is a figure over the rounds.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// ReadYardsticks reads the file in dir.
func ReadYardsticks(dir string) (Yardsticks, error) {
	var y Yardsticks
	path := filepath.Join(dir, YardsticksFile)
	if err := ReadJSON(path, &y); err != nil {
		return y, err
	}
	return y, CheckFormat(path, y.Format)
}

// WriteYardsticks writes the file into dir.
func WriteYardsticks(dir string, y Yardsticks) error {
	y.Format = Format
	return WriteJSON(filepath.Join(dir, YardsticksFile), y)
}
