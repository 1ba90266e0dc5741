// Package kafka carries the messages of the network over Kafka.
package kafka
