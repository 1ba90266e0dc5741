// Package durable is how files are kept that others rely on: by one process alone, whole or
// not at all, and through a loss of power.
package durable
