// Package mongo keeps the network in MongoDB, for any number of processes that share it:
// the event log, its projections, and when points were last heard.
package mongo
