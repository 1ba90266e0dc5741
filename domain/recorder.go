package domain

// Recorder keeps what an aggregate has decided and not yet stored. Aggregates
// embed it; E is the aggregate's sealed event interface. It is not safe for use
// from several goroutines.
type Recorder[E any] struct {
	pending []E
}

// Record applies an event that was decided at now, and keeps it until Stored.
func (r *Recorder[E]) Record(now UnixMillis, event E, apply func(UnixMillis, E) error) {
	if err := apply(now, event); err != nil {
		// A command recorded an event that its own aggregate does not know: a fault of the
		// program that no caller can mend.
		panic(err)
	}
	r.pending = append(r.pending, event)
}

// Pending are the events that were decided and not yet stored, oldest first.
func (r *Recorder[E]) Pending() []E { return r.pending }

// Stored forgets the pending events: the log has them.
func (r *Recorder[E]) Stored() { r.pending = nil }
