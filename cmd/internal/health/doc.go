// Package health is how a program tells that it is alive and ready: on the address of --http
// (/livez, /readyz, /metrics; a Central's pages too), and by its subcommand health, which
// asks there.
package health
