package chargingpoint

import (
	"time"

	"evcharging/domain"
)

// Event is something that happened to a point. The set is closed.
type Event interface{ pointEvent() }

type (
	// PointRegistered says where the point stands and what it costs, for the first time or anew.
	PointRegistered struct {
		Location   string
		Price      domain.MicroEurosPerKWh
		RecordedAt domain.UnixMillis
		ProofAt    domain.UnixMillis
	}
	// PriceSet is an operator's price, which stands over the point's own from an instant on;
	// from the event on where From is 0.
	PriceSet struct {
		Price domain.MicroEurosPerKWh
		By    string
		From  domain.UnixMillis
	}
	// PriceHandedBack says that the point's own price counts again, from an instant on; from
	// the event on where From is 0.
	PriceHandedBack struct {
		By   string
		From domain.UnixMillis
	}
	// PriceTookEffect says that Central has noticed that a price counts which was set, or
	// handed back, for that instant.
	PriceTookEffect struct{ From domain.UnixMillis }
	// PointConnected is the Monitor's first sign of life, or the first after its lease ran out.
	PointConnected struct {
		Lease      time.Duration
		ReportedAt domain.UnixMillis
	}
	// LeaseChanged says that the Monitor gives another lease.
	LeaseChanged struct{ Lease time.Duration }
	// PointDisconnected says that the lease ran out.
	PointDisconnected struct {
		LastHeard domain.UnixMillis
		Lease     time.Duration
	}
	// FaultReported says that the Engine is down or broken.
	FaultReported struct{ ReportedAt domain.UnixMillis }
	// FaultCleared says that the Engine works: the first report of health too.
	FaultCleared struct{ ReportedAt domain.UnixMillis }
	// TakenOutOfService says that an operator stopped the point. Session is what it was
	// supplying, or empty.
	TakenOutOfService struct {
		RecordedAt domain.UnixMillis
		By         string
		Order      domain.Order
		ValidUntil domain.UnixMillis
		Session    domain.SessionID
		HoldUntil  domain.UnixMillis
	}
	// ReturnedToService says that an operator resumed the point.
	ReturnedToService struct {
		RecordedAt domain.UnixMillis
		By         string
		Order      domain.Order
		ValidUntil domain.UnixMillis
	}
	// PointOccupied says that a request was granted; the order starts the supply.
	PointOccupied struct {
		Session    domain.SessionID
		Driver     domain.DriverID
		Order      domain.Order
		ValidUntil domain.UnixMillis
	}
	// StopOrdered tells the Engine to end a session.
	StopOrdered struct {
		Session    domain.SessionID
		Cause      string
		Order      domain.Order
		ValidUntil domain.UnixMillis
		HoldUntil  domain.UnixMillis
	}
	// PointReleased says that the session is closed.
	PointReleased struct{ Session domain.SessionID }
)

func (PointRegistered) pointEvent()   {}
func (PriceSet) pointEvent()          {}
func (PriceHandedBack) pointEvent()   {}
func (PriceTookEffect) pointEvent()   {}
func (PointConnected) pointEvent()    {}
func (LeaseChanged) pointEvent()      {}
func (PointDisconnected) pointEvent() {}
func (FaultReported) pointEvent()     {}
func (FaultCleared) pointEvent()      {}
func (TakenOutOfService) pointEvent() {}
func (ReturnedToService) pointEvent() {}
func (PointOccupied) pointEvent()     {}
func (StopOrdered) pointEvent()       {}
func (PointReleased) pointEvent()     {}
