// Package domain holds the values that every aggregate shares: identifiers,
// exact quantities, instants, and the recorder of events.
//
// The packages below it are the aggregates: chargingpoint and session. All of
// them are pure. They import the standard library and google/uuid and nothing
// else; they have no clock, no I/O, no context, no tags and no floats. Time and
// ids come in as arguments, and the same arguments always give the same answer.
package domain
