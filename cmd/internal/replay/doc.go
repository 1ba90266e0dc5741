// Package replay reads a session event log, wherever it is, and builds from it what can be
// thrown away: the documents in MongoDB, or a file of JSON Lines.
package replay
