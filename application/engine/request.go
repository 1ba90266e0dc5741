package engine

import (
	"slices"
	"time"

	"evcharging/application/message"
	"evcharging/domain"
)

const (
	// requestPatience is after how long an unanswered request is said to be one.
	requestPatience = 5 * time.Second
	// maxRequestAge is when a request that could not be sent is dropped: Central would
	// refuse it as expired.
	maxRequestAge = 30 * time.Second
	// requestDeadline is when an unanswered request is given up.
	requestDeadline = 60 * time.Second
)

// openRequest is a request that was made here and not answered.
type openRequest struct {
	message.Request
	askedAt  domain.UnixMillis
	reminded bool
}

func (e *Engine) request(in RequestSupply, now domain.UnixMillis) {
	if err := domain.CheckID(in.Driver); err != nil {
		e.warn("no supply was asked for: %v", err)
		return
	}
	r := message.Request{Driver: in.Driver, Point: e.settings.Point, ID: in.ID, Origin: message.OriginPoint}
	e.requests = append(e.requests, openRequest{Request: r, askedAt: now})
	e.outbox.requests = append(e.outbox.requests, r)
	e.say("asking Central for a supply to %s", in.Driver)
}

func (e *Engine) answered(a message.Answer) {
	// Without a request's id it is the oldest of that driver.
	i := slices.IndexFunc(e.requests, func(r openRequest) bool {
		return a.Request == r.ID || a.Request == "" && a.Driver == r.Driver && a.Point == r.Point
	})
	if i < 0 {
		return
	}
	r := e.requests[i]
	e.requests = slices.Delete(e.requests, i, i+1)
	if a.Authorized {
		e.say("Central has granted the supply to %s", r.Driver)
	} else {
		e.say("Central has refused the supply to %s%s", r.Driver, because(a.Reason))
	}
}

func (e *Engine) waitForAnswers(now domain.UnixMillis) {
	e.requests = slices.DeleteFunc(e.requests, func(r openRequest) bool {
		unsent := slices.Contains(e.outbox.requests, r.Request)
		switch waited := now.Sub(r.askedAt); {
		case unsent && waited > maxRequestAge:
			e.outbox.requests = slices.DeleteFunc(e.outbox.requests, func(q message.Request) bool { return q.ID == r.ID })
			e.warn("the request of %s could not be sent and is dropped: ask again when the broker is back", r.Driver)
			return true
		case waited > requestDeadline:
			e.warn("Central has not answered the request of %s: not served", r.Driver)
			return true
		}
		return false
	})
	for i := range e.requests {
		if r := &e.requests[i]; !r.reminded && now.Sub(r.askedAt) > requestPatience {
			r.reminded = true
			e.warn("Central has not answered the request of %s yet", r.Driver)
		}
	}
}
