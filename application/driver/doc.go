// Package driver is a driver who asks for supplies, one after another, and shows
// every step up to the ticket.
//
// It is pure: Step takes an input and the time, and says in an Outcome what is to be
// done: what to keep first, what to send, what to show. It starts nothing, waits for
// nothing and has no clock.
//
// # One answer for one request
//
// A run is a list of points. Each of its lines is asked for with one request id, ever:
// the Checkpoint that holds the id is kept before the request is sent, and a run that
// was killed goes on from there. A request whose sending has an unknown outcome is sent
// again with the same id, for which Central has one answer.
//
// An answer with a request id belongs to that request. One without (of another
// implementation's Central) belongs to the open request if it is for its point and its
// Kafka timestamp is not before that of the request, which is learnt by reading the
// request's own record back. Timestamps that the broker did not set are senders' clocks,
// and may differ by up to ClockTolerance.
//
// A grant without a session id is bound to the session that the point then reports for
// this driver.
//
// # Silence
//
// Silence counts only while something could have been heard: every wait begins anew
// when the broker comes back.
//
//	since the request was sent        SilentAfter: said; GiveUpAfter: not served
//	since the grant or last report    QuietAfter: said; LostAfter: failed
//	since a done without a ticket     TicketWait: the done is the ticket
//
// What comes later still is not lost: a ticket or its revision changes the line's Supply
// for as long as the run goes on.
package driver
