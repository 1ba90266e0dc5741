// Package prometheus measures programs for Prometheus.
//
// A Program measures what every program has: what was built, Go, the process, and whether it
// is ready. A Central measures turns, appends and dead letters as they happen, and asks how it
// stands when it is scraped. Every label is one of a few values that are known beforehand
// (topics, results, states, rules): no series is added by a point, a driver or a session.
//
// Watermill's own Prometheus components are left out. Its router carries the bus alone, where
// a delivery is a part of a turn and is timed with it; records from Kafka don't go over a
// router, and what its subscriber takes for acknowledged is not (see package kafka).
package prometheus
