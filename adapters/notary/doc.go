// Package notary signs checkpoints of the event log, knows whose signatures count, and keeps
// what was signed in a folder outside the log:
//
//	signing.key   the key, an Ed25519 note key that its owner alone may read
//	network.pub   its public part, which an auditor gets
//	checkpoints   the checkpoints, one after the other; only ever appended to
//	covered       how far into the log the last of them reaches
//	published     which of them was told to everybody last
//	lock          held by the Central that signs there
//
// Notes are those of golang.org/x/mod/sumdb/note.
package notary
