// Package checkpoint keeps the place of a driver's run in one file, so that a run that
// was killed goes on where it was.
//
// The file is one JSON object (see shape.go: energies in mWh, prices in µEUR/kWh, amounts
// in µEUR, times in Unix milliseconds). It is always replaced whole: what is new is
// written beside it, synced, and renamed into its place, so that a kill or a loss of
// power leaves either the one or the other. A file that can't be read was damaged by
// something else, and is refused rather than guessed at.
//
// A file belongs to one run: it is locked for as long as it is open.
package checkpoint
