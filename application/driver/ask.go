package driver

import (
	"time"

	"evcharging/application/message"
	"evcharging/domain"
)

// ask asks for the next line. The request is kept before it is sent.
func (s *step) ask() {
	s.at.Open = &Open{Request: s.newRequest(), AskedAt: s.now}
	s.wait = wait{since: s.now}
	s.keep()
	s.send(false)
}

func (s *step) send(again bool) {
	s.wait.sending = true
	s.out.Send = &message.Request{
		Driver: s.at.Driver,
		Point:  s.point(),
		ID:     s.at.Open.Request,
		Origin: message.OriginDriver,
	}
	if s.wait.failures == 0 {
		s.tell(Asked{Line: s.line(), Request: s.at.Open.Request, Again: again})
	}
}

func (s *step) sent(in Sent) {
	open := s.at.Open
	if open == nil || open.Request != in.Request || !s.wait.sending {
		return
	}
	s.wait.sending = false
	if in.Err == nil {
		s.isSent()
		return
	}
	s.wait.failures++
	s.wait.tryAt = s.now.Add(pause(s.wait.failures))
	if s.wait.failures == 1 && !open.Sent {
		s.tell(SendFailed{s.line(), in.Err})
	}
}

// pause grows from one second with each failure.
func pause(failures int) time.Duration {
	return min(time.Second<<min(failures-1, 10), maxPause)
}

// isSent notes that the broker has the request, from when on Central is waited for.
func (s *step) isSent() {
	if s.at.Open.Sent {
		return
	}
	s.at.Open.Sent = true
	s.wait.since = s.now
	s.keep()
}

// readBack takes the request's own record: the broker has it, and this is its time. The
// first one counts where it was sent twice.
func (s *step) readBack(request message.Request, source message.Source) {
	open := s.at.Open
	if open == nil || request.ID != open.Request || request.Driver != s.at.Driver || s.wait.sentAt != 0 {
		return
	}
	s.wait.sentAt, s.wait.trusted = source.Timestamp, source.Trusted
	s.isSent()
	s.releaseHeld()
}

// answered takes an answer of Central.
func (s *step) answered(answer message.Answer, source message.Source) {
	open := s.at.Open
	switch {
	case answer.Driver != s.at.Driver:
	case answer.Request != "" && (open == nil || answer.Request != open.Request):
		s.answeredLate(answer)
	case open == nil || open.Granted || answer.Point != s.point():
	case answer.Request != "":
		s.take(answer, source)
	default:
		s.wait.held = append(s.wait.held, heldAnswer{answer, source, s.now})
		s.releaseHeld()
	}
}

// releaseHeld takes the first held answer that is not older than the request, once the
// request's time is known, or will not be.
func (s *step) releaseHeld() {
	held := s.wait.held
	s.wait.held = nil
	for _, h := range held {
		switch {
		case s.at.Open == nil || s.at.Open.Granted:
			return
		case s.wait.sentAt == 0 && s.now.Sub(h.since) < settle:
			s.wait.held = append(s.wait.held, h)
		case s.notBeforeRequest(h.source):
			s.take(h.answer, h.source)
		}
	}
}

// notBeforeRequest tells whether a record can be an effect of the open request.
func (s *step) notBeforeRequest(source message.Source) bool {
	switch {
	case s.wait.sentAt == 0:
		return source.Timestamp >= s.at.Open.AskedAt.Add(-ClockTolerance)
	case s.wait.trusted && source.Trusted:
		return source.Timestamp >= s.wait.sentAt
	}
	return source.Timestamp >= s.wait.sentAt.Add(-ClockTolerance)
}

// take acts on the open request's answer.
func (s *step) take(answer message.Answer, source message.Source) {
	open := s.at.Open
	if !answer.Authorized {
		s.conclude(Supply{Session: answer.Session, Verdict: Refused, Reason: answer.Reason}, nil)
		return
	}
	open.Sent, open.Granted, open.Session, open.Price = true, true, answer.Session, answer.Price
	s.wait.since, s.wait.told, s.wait.held = s.now, false, nil
	s.keep()
	s.tell(Granted{Line: s.line(), Session: open.Session, Price: open.Price, At: source.Timestamp})
	s.show()
}

// answeredLate takes a grant for a line that was given up.
func (s *step) answeredLate(answer message.Answer) {
	for i := range s.at.Supplies {
		before := s.at.Supplies[i]
		if before.Request != answer.Request || before.Verdict != NotServed || before.Session != "" {
			continue
		}
		after := before
		after.Session, after.Reason = answer.Session, CentralSilent
		if !answer.Authorized {
			after.Verdict, after.Reason = Refused, answer.Reason
		}
		if after != before {
			s.correct(i, after, nil)
		}
		return
	}
}

// awaitAnswer sends the request again where that is due, and gives up on a silent Central.
func (s *step) awaitAnswer() {
	s.releaseHeld()
	open := s.at.Open
	if open == nil || open.Granted {
		return
	}
	if !open.Sent && !s.wait.sending && !s.down && s.now >= s.wait.tryAt {
		s.send(true)
		return
	}
	if !open.Sent {
		return
	}
	switch waited := s.waited(s.wait.since); {
	case waited >= GiveUpAfter:
		s.conclude(Supply{Verdict: NotServed, Reason: CentralSilent}, nil)
	case waited >= SilentAfter && !s.wait.told:
		s.wait.told = true
		s.tell(CentralQuiet{s.line(), GiveUpAfter - waited})
	}
}

// lineWith is the line that a session belongs to, or -1.
func (s *step) lineWith(session domain.SessionID) int {
	for i := range s.at.Supplies {
		if session != "" && s.at.Supplies[i].Session == session {
			return i
		}
	}
	return -1
}

// correct replaces what is known of a line that has concluded; ticket is nil where an answer
// says so.
func (s *step) correct(i int, after Supply, ticket *message.Ticket) {
	before := s.at.Supplies[i]
	s.at.Supplies[i] = after
	s.keep()
	s.tell(Corrected{Line: s.lineOf(i), Before: before, After: after, Ticket: ticket})
}
