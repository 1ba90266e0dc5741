package domain

// Recorder keeps what an aggregate has decided and not yet stored. It is
// embedded by aggregates; E is the aggregate's sealed event interface. It is not
// safe for use from several goroutines.
type Recorder[E any] struct {
	pending []E
}

// Record applies an event with apply and keeps it until Stored.
func (r *Recorder[E]) Record(event E, apply func(E) error) error {
	if err := apply(event); err != nil {
		return err
	}
	r.pending = append(r.pending, event)
	return nil
}

// Pending are the events that were decided and not yet stored, oldest first.
func (r *Recorder[E]) Pending() []E { return r.pending }

// Stored forgets the pending events: the log has them.
func (r *Recorder[E]) Stored() { r.pending = nil }
