package central

import (
	"context"
	"time"

	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
)

// noLocation is that of a registration without one.
const noLocation = "N/A"

// register takes what a point says of itself.
func (t *turn) register(ctx context.Context, m message.Registration) (verdict, error) {
	if err := t.loadPoint(ctx, m.Point); err != nil {
		return verdict{}, err
	}
	location, price := noLocation, t.DefaultPrice
	if m.Location != nil {
		location = *m.Location
	}
	if m.Price != nil {
		price = *m.Price
	}
	return judge(t.point.point.Register(t.now, location, price, t.received.Source.Timestamp, t.proof(m)))
}

// proof is what is known of the registration's proof: nothing is asked for in an open network.
func (t *turn) proof(m message.Registration) chargingpoint.Proof {
	if t.Secrets == nil {
		return chargingpoint.Proof{}
	}
	proof := chargingpoint.Proof{Required: true}
	secret, known := t.Secrets.Secret(m.Point)
	if at, err := time.Parse(time.RFC3339, m.At); err == nil {
		proof.At = domain.At(at)
	}
	proof.Valid = known && message.VerifyRegistration(secret, m)
	return proof
}
