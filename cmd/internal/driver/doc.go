// Package driver wires a Driver: its list, the file that keeps its place, Kafka, and the
// lines that it shows.
package driver
