package eventjson

import (
	"fmt"
	"reflect"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

type name struct {
	Type    string
	Version int
}

type entry struct {
	name   name
	encode func(event any) any
	decode func(data jsontext.Value) (any, error)
}

var (
	byType = map[reflect.Type]entry{} // the version that is written
	byName = map[name]entry{}         // every version that was ever written
)

// current enters the name, the version and the shape in which an event is written: W has
// E's fields, in the order of the text, with their names.
func current[E, W any](typeName string, version int, to func(E) W, from func(W) E) {
	t := reflect.TypeFor[E]()
	e := entry{
		name:   name{typeName, version},
		encode: func(event any) any { return to(event.(E)) },
		decode: decoder(from),
	}
	byType[t], byName[e.name] = e, e
}

// earlier enters a version that is only read any more: up makes of its shape W the event
// that it says today.
func earlier[E, W any](typeName string, version int, up func(W) E) {
	byName[name{typeName, version}] = entry{name: name{typeName, version}, decode: decoder(up)}
}

func decoder[E, W any](from func(W) E) func(jsontext.Value) (any, error) {
	return func(data jsontext.Value) (any, error) {
		var w W
		if err := json.Unmarshal(data, &w, strict, scalars); err != nil {
			return nil, err
		}
		return from(w), nil
	}
}

func init() {
	current("PointRegistered", 1, func(e chargingpoint.PointRegistered) pointRegistered1 { return pointRegistered1(e) },
		func(w pointRegistered1) chargingpoint.PointRegistered { return chargingpoint.PointRegistered(w) })
	current("PriceSet", 2, func(e chargingpoint.PriceSet) priceSet2 { return priceSet2(e) },
		func(w priceSet2) chargingpoint.PriceSet { return chargingpoint.PriceSet(w) })
	earlier("PriceSet", 1, func(w priceSet1) chargingpoint.PriceSet {
		return chargingpoint.PriceSet{Price: w.Price, By: w.By} // it counted at once
	})
	current("PriceHandedBack", 2, func(e chargingpoint.PriceHandedBack) priceHandedBack2 { return priceHandedBack2(e) },
		func(w priceHandedBack2) chargingpoint.PriceHandedBack { return chargingpoint.PriceHandedBack(w) })
	earlier("PriceHandedBack", 1, func(w priceHandedBack1) chargingpoint.PriceHandedBack {
		return chargingpoint.PriceHandedBack{By: w.By} // it counted at once
	})
	current("PriceTookEffect", 1, func(e chargingpoint.PriceTookEffect) priceTookEffect1 { return priceTookEffect1(e) },
		func(w priceTookEffect1) chargingpoint.PriceTookEffect { return chargingpoint.PriceTookEffect(w) })
	current("PointConnected", 1, func(e chargingpoint.PointConnected) pointConnected1 { return pointConnected1(e) },
		func(w pointConnected1) chargingpoint.PointConnected { return chargingpoint.PointConnected(w) })
	current("LeaseChanged", 1, func(e chargingpoint.LeaseChanged) leaseChanged1 { return leaseChanged1(e) },
		func(w leaseChanged1) chargingpoint.LeaseChanged { return chargingpoint.LeaseChanged(w) })
	current("PointDisconnected", 1, func(e chargingpoint.PointDisconnected) pointDisconnected1 { return pointDisconnected1(e) },
		func(w pointDisconnected1) chargingpoint.PointDisconnected { return chargingpoint.PointDisconnected(w) })
	current("FaultReported", 1, func(e chargingpoint.FaultReported) faultReported1 { return faultReported1(e) },
		func(w faultReported1) chargingpoint.FaultReported { return chargingpoint.FaultReported(w) })
	current("FaultCleared", 1, func(e chargingpoint.FaultCleared) faultCleared1 { return faultCleared1(e) },
		func(w faultCleared1) chargingpoint.FaultCleared { return chargingpoint.FaultCleared(w) })
	current("TakenOutOfService", 1, func(e chargingpoint.TakenOutOfService) takenOutOfService1 { return takenOutOfService1(e) },
		func(w takenOutOfService1) chargingpoint.TakenOutOfService { return chargingpoint.TakenOutOfService(w) })
	current("ReturnedToService", 1, func(e chargingpoint.ReturnedToService) returnedToService1 { return returnedToService1(e) },
		func(w returnedToService1) chargingpoint.ReturnedToService { return chargingpoint.ReturnedToService(w) })
	current("PointOccupied", 1, func(e chargingpoint.PointOccupied) pointOccupied1 { return pointOccupied1(e) },
		func(w pointOccupied1) chargingpoint.PointOccupied { return chargingpoint.PointOccupied(w) })
	current("StopOrdered", 1, func(e chargingpoint.StopOrdered) stopOrdered1 { return stopOrdered1(e) },
		func(w stopOrdered1) chargingpoint.StopOrdered { return chargingpoint.StopOrdered(w) })
	current("PointReleased", 1, func(e chargingpoint.PointReleased) pointReleased1 { return pointReleased1(e) },
		func(w pointReleased1) chargingpoint.PointReleased { return chargingpoint.PointReleased(w) })

	current("SupplyAuthorized", 1, func(e session.SupplyAuthorized) supplyAuthorized1 { return supplyAuthorized1(e) },
		func(w supplyAuthorized1) session.SupplyAuthorized { return session.SupplyAuthorized(w) })
	current("SupplyRefused", 1, func(e session.SupplyRefused) supplyRefused1 { return supplyRefused1(e) },
		func(w supplyRefused1) session.SupplyRefused { return session.SupplyRefused(w) })
	current("SupplyStarted", 1, func(e session.SupplyStarted) supplyStarted1 { return supplyStarted1(e) },
		func(w supplyStarted1) session.SupplyStarted { return session.SupplyStarted(w) })
	current("MeterValueRecorded", 1, func(e session.MeterValueRecorded) meterValueRecorded1 { return meterValueRecorded1(e) },
		func(w meterValueRecorded1) session.MeterValueRecorded { return session.MeterValueRecorded(w) })
	current("EndDecided", 1, func(e session.EndDecided) endDecided1 { return endDecided1(e) },
		func(w endDecided1) session.EndDecided { return session.EndDecided(w) })
	current("SupplyEnded", 1, func(e session.SupplyEnded) supplyEnded1 { return supplyEnded1(e) },
		func(w supplyEnded1) session.SupplyEnded { return session.SupplyEnded(w) })
	current("TicketIssued", 1, func(e session.TicketIssued) ticketIssued1 { return ticketIssued1(e) },
		func(w ticketIssued1) session.TicketIssued { return session.TicketIssued(w) })
	current("TicketRevised", 1, func(e session.TicketRevised) ticketRevised1 { return ticketRevised1(e) },
		func(w ticketRevised1) session.TicketRevised { return session.TicketRevised(w) })
}

func lookUp(n name) (entry, error) {
	e, ok := byName[n]
	if !ok {
		return entry{}, fmt.Errorf("%w: %s version %d", ErrUnknownEvent, n.Type, n.Version)
	}
	return e, nil
}
