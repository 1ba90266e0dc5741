// Package memory holds adapters that keep what they know in memory: real ones, with
// the constraints of their durable brothers, for tests and for a first look.
package memory
