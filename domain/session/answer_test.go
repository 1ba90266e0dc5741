package session_test

import (
	"testing"
	"time"

	"evcharging/domain/session"
)

var grant = session.Grant{Order: 1, ValidUntil: noon + 30*second, Price: price}

func authorize(s *session.Session) error {
	return s.Authorize(noon, asked, grant, session.DefaultPatience)
}

func refuse(s *session.Session) error { return s.Refuse(noon, asked, "OCCUPIED", false) }

func TestAuthorize(t *testing.T) {
	given(t).When(noon, authorize).Then(authorized)

	longer := authorized
	longer.Due = noon + 2*minute
	given(t).When(noon, func(s *session.Session) error {
		return s.Authorize(noon, asked, grant, session.Patience{TakeUp: 2 * time.Minute})
	}).Then(longer)
}

func TestAuthorizeWithoutRequestID(t *testing.T) {
	want := authorized
	want.Request, want.Origin = "", "cp"
	given(t).When(noon, func(s *session.Session) error {
		return s.Authorize(noon, session.Request{Point: "CP-1", Driver: "D-1", Origin: "cp"}, grant, session.DefaultPatience)
	}).Then(want)
}

func TestRefuse(t *testing.T) {
	s := given(t).When(noon, refuse).Then(refused)
	if s.Live.Open() || s.Live.Request() != asked {
		t.Errorf("open %t, %+v", s.Live.Open(), s.Live.Request())
	}
	silent := refused
	silent.Reason, silent.Silent = "EXPIRED", true
	given(t).When(noon, func(s *session.Session) error { return s.Refuse(noon, asked, "EXPIRED", true) }).Then(silent)
}

// A request gets one answer, whatever has changed meanwhile.
func TestARequestIsAnsweredOnce(t *testing.T) {
	for name, history := range map[string][]past{
		"refused":   {at(noon, refused)},
		"granted":   {granted},
		"supplying": {granted, supplying},
		"ending":    {granted, ending},
		"closed":    {granted, closed},
	} {
		t.Run(name, func(t *testing.T) {
			given(t, history...).
				When(noon+minute, authorize).ThenError(session.ErrAlreadyAnswered).
				When(noon+minute, refuse).ThenError(session.ErrAlreadyAnswered)
		})
	}
}
