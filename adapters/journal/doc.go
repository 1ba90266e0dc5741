// Package journal keeps what an Engine must not forget in one file for each point,
// DIR/<point>.journal.
//
// The file is text. Each line is 8 hex digits, the CRC-32C of the rest of the line, a
// space, and one JSON object: first a header with the format's version and the point,
// then one engine.Record a line. Energies are in mWh, powers in W, prices in µEUR/kWh,
// amounts in µEUR, times in Unix milliseconds. A record is one write: it is there
// whole, or its line is torn and counts for nothing.
//
// Opening reads the file, drops what can't be read (a torn end after a kill) and writes
// the rest anew in its shortest form, through a second file that takes the first
// one's place in one step. The same is done when the file has grown, so its size is
// bounded by what an Engine remembers.
//
// A file has one Engine: it is locked for as long as it is open.
package journal
