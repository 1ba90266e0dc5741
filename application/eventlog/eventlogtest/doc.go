// Package eventlogtest holds the suite that every adapter of the event log passes,
// and the Builder that makes valid commits for it and for other tests.
package eventlogtest
