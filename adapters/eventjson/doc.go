// Package eventjson is the codec of the event log: the one table of the events'
// names and schema versions, and the canonical text of a part.
//
// A part's text is a JSON object with fixed field order, no white space, integers
// for every figure and instant (mWh, W, µEUR, µEUR/kWh, Unix milliseconds):
//
//	{"commit":"…","at":…,"cause":{"topic":"…","partition":…,"offset":…,"timestamp":…,"digest":"…"},
//	 "events":[{"type":"PointOccupied","v":1,"data":{…}}]}
//
// It is made once and stored verbatim, for the chain hashes these bytes. An event
// is never edited: a new shape gets the next version, its old shape stays in the
// table with an upcaster.
package eventjson
