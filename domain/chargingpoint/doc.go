// Package chargingpoint is the aggregate ChargingPoint: what Central knows of a
// point, and whether it may supply.
//
// It keeps independent facts (registered, connected, healthy, in service,
// occupied) and derives the state that is shown. Each command is a file: it
// guards, records, returns. The table of which input is ignored and which is
// refused stands in package session, for both aggregates.
package chargingpoint
