// Package http serves what Central knows, to be read only, as JSON:
//
//	GET /points           every point as it is now
//	GET /points/{id}      one of them
//	GET /sessions         the open sessions and those that closed last
//	GET /sessions/{id}    one session, from the log where it is an old one
//	GET /log?from=N       the event log as JSON Lines, from a position (1 by default)
//
// and reads it for the subcommands that print it. It never shows a secret; the drivers'
// ids are in it, so it listens on loopback unless told otherwise.
package http
