// Package monitor wires a Monitor: the sockets to its Engine and to Central, Kafka, and
// the clock.
//
// It beats from its start, whether Kafka or Central is there or not. When it stops it says
// nothing: its lease runs out, and the point turns grey.
package monitor
