// Package engine is the charging point: a state machine that obeys Central's
// orders, supplies (simulated), reports once a second and never loses what it
// has supplied.
//
// It is pure. Step takes an input and the time and says in an Outcome what is to
// be done: what the journal must hold first, what to send, what to tell whoever
// looks on. It starts nothing, waits for nothing and has no clock; wiring around it
// has the ticker, the journal's file, the broker and the socket of the heartbeat.
//
// # Orders
//
// Orders are fenced by their number: one that is not newer than the last that was
// obeyed or refused is ignored, and so is one past its ValidUntil. Where an order
// has no number it is obeyed; where it has no ValidUntil it counts as too old 30 s
// after its Kafka timestamp. A timestamp that was not set by the broker is a sender's
// clock and no measure of age, except that an order which claims to be from the last
// day before this Engine came up was read from the topic's past.
//
// A start is always answered. That of the running session, repeated, by its samples;
// that of a session that has ended by its done, again; one that can't be obeyed by a
// done with zeros and REFUSED. A start for another session ends the running one first.
// A stop for a session that does not run is answered by its done, or by zeros,
// unless it was read from the topic's past; a stop
// that names another session than the running one does not end that. OUT_OF_ORDER
// ends what runs. RESUME ends nothing. A start implies in service: the newest order is
// the whole truth.
//
// # Energy
//
// Energy is measured in whole milliwatt-hours from watts × milliseconds, the
// remainder carried; the amount is computed from it. Of a gap between two steps at
// most MaxGap counts, so that a machine that slept, or a clock that was set, bills
// nothing that was not supplied.
//
// # Journal
//
// What must survive is in Memory, which is a fold of Records. A Record is stored
// before anything else of its Outcome is done. An Engine that finds a session in its
// Memory was killed in it: it reports the totals of the last stored sample with the
// reason RECOVERED. A final report stays due until the broker has it. One that is asked
// to stop while it supplies ends the supply with KO, so that its driver gets a ticket
// now: for whoever stands there the point breaks down. What could not be sent by then
// is sent when it comes back.
package engine
