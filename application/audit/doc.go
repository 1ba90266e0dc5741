// Package audit says what an event log proves: that it is whole, what checkpoints outside it
// say of it, why a bill is what it is, how the network stood at an instant. It reads a log
// through its port, has no state of its own, and decides nothing.
package audit
