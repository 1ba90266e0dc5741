// Package http serves how a program is and, of a Central, what it knows; all of it is to be
// read only:
//
//	GET /livez            200 as long as the main loop turns
//	GET /readyz           200 as long as the program does its work; else 503 and why not
//	GET /metrics          for Prometheus
//
//	GET /points           every point as it is now
//	GET /points/{id}      one of them
//	GET /sessions         the open sessions and those that closed last
//	GET /sessions/{id}    one session, from the log where it is an old one
//	GET /log?from=N       the event log as JSON Lines, from a position (1 by default),
//	                      with header and trailer: docs/log-format.md
//
// and reads it for the subcommands that print it. The pages are JSON. Nothing shows a
// secret; the drivers' ids are in the pages, so they are on loopback unless told otherwise.
package http
