package api

import (
	"sekali/aggregator/internal/ingest"
	"sekali/aggregator/pipeline"
	"sekali/aggregator/store"
)

// Bytes is a number of bytes.
type Bytes int64

// Limits are the constants behind the table of docs/reference/limits.md of limits, by its first
// column: bytes, a count or a time.
var Limits = map[string]any{
	"all bodies until they are decoded":                              Bytes(bodiesBytes),
	"objects and arrays of a body in OTLP's or Loki's JSON":          ingest.MaxContainers,
	"its values, those among them":                                   ingest.MaxValues,
	"steps of a JSON pointer in a query":                             maxPointerSteps,
	"request line and headers":                                       Bytes(headerBytes),
	"time for them to arrive":                                        headerTimeout,
	"time for a body to arrive":                                      readTimeout,
	"time for an answer, or a page of an export or stream, to leave": writeTimeout,
	"time between two requests of a connection":                      idleTimeout,
	"connections": maxConnections,
	"requests that wait for a commit or a sync":                     maxWaiting,
	"of them, those that wait for a commit":                         maxCommits,
	"what a connection's answers take in the kernel":                Bytes(sendBuffer),
	"newest events in memory, for streams":                          Bytes(pipeline.RecentBytes),
	"`limit` of a page":                                             maxLimit,
	"bytes of a page":                                               Bytes(pageBytes),
	"all pages, and other answers over 16 KiB, until they are sent": Bytes(pagesBytes),
	"of them, the answer to one request that publishes":             Bytes(answerBytesMost),
	"time to read a page, or for an export to wait for room":        readBudget,
	"copies of `/backup` that are made or sent":                     1,
	"time to make one":                                              backupBudget,
	"time for it to leave":                                          backupBase,
	"topics in `/stats`":                                            maxTopics,
	"time for a piece of an upload to arrive":                       readTimeout,
	"time to find a place for a piece of it":                        uploadPatience,
	"entry of an upload, as JSON":                                   Bytes(ingest.UploadEntryBytes),
	"what an upload takes of all bodies":                            Bytes(ingest.UploadHeld),
	"tokens in the file of `-tokens`":                               MaxTokens,
	"bytes of a line there":                                         Bytes(MaxTokenBytes),
	"body of a dead letter":                                         Bytes(store.MaxRefusedBytes),
	"dead letters of what was refused":                              store.MaxRefused,
	"of them, from one request":                                     maxLetters,
	"bytes of them that wait for a commit":                          Bytes(pipeline.RefusedBytes),
}
