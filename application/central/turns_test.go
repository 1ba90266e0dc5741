package central_test

import (
	"testing"
	"time"

	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// From record to turn: each row of the table.

func TestARegistrationIsStoredAndShown(t *testing.T) {
	w := newWorld(t)
	w.when(seconds(0), registration(cheap)).
		stores(ofPoint(chargingpoint.PointRegistered{Location: "Alcoy", Price: cheap, RecordedAt: seconds(0)})).
		sends(state(chargingpoint.Disconnected, seconds(0), 1))
}

func TestARegistrationWithoutLocationAndPriceGetsTheDefaults(t *testing.T) {
	w := newWorld(t)
	w.when(seconds(0), message.Registration{Point: cp1}).
		stores(ofPoint(chargingpoint.PointRegistered{Location: "N/A", Price: 350_000, RecordedAt: seconds(0)})).
		sends(message.PointState{Point: cp1, Location: "N/A", Price: 350_000, State: "DISCONNECTED", UpdatedAt: seconds(0), Version: 1})
}

func TestARegistrationThatChangesNothingStoresNothing(t *testing.T) {
	w := free(t)
	w.when(seconds(5), registration(cheap)).ignores(chargingpoint.ErrUnchanged)
}

func TestARegistrationThatIsNotLaterIsIgnored(t *testing.T) {
	w := free(t)
	w.whenReceived(seconds(5), w.record(seconds(-1), registration(cheap+1))).ignores(chargingpoint.ErrNotLater)
}

func TestTheFirstReportOfHealthConnectsThePoint(t *testing.T) {
	w := newWorld(t)
	w.given(seconds(0), registration(cheap))
	w.when(seconds(1), health(message.HealthOK)).
		stores(ofPoint(
			chargingpoint.PointConnected{Lease: lease, ReportedAt: seconds(1)},
			chargingpoint.FaultCleared{ReportedAt: seconds(1)},
		)).
		sends(state(chargingpoint.Activated, seconds(1), 3))
}

func TestHealthMayOvertakeTheRegistration(t *testing.T) {
	w := newWorld(t)
	// What never registered has no public state: nobody may take it for a point to stop.
	w.when(seconds(1), health(message.HealthOK)).sends()
	w.when(seconds(2), registration(cheap)).
		stores(ofPoint(chargingpoint.PointRegistered{Location: "Alcoy", Price: cheap, RecordedAt: seconds(2)})).
		sends(state(chargingpoint.Activated, seconds(2), 3))
}

func TestHealthThatSaysNothingNewIsASignOfLifeAndNoHistory(t *testing.T) {
	w := free(t)
	w.when(seconds(6), health(message.HealthOK)).ignores(chargingpoint.ErrUnchanged)
	w.when(seconds(20), request(dan, danRequest)).sends(
		startAt(seconds(20)), grantOf(dan, danRequest), state(chargingpoint.Supplying, seconds(20), 4))
}

func TestARecoveryMayComeAsOKAndThenRecovered(t *testing.T) {
	w := free(t)
	w.given(seconds(3), health(message.HealthKO))
	w.when(seconds(5), health(message.HealthOK)).
		stores(ofPoint(chargingpoint.FaultCleared{ReportedAt: seconds(5)})).
		sends(state(chargingpoint.Activated, seconds(5), 5))
	w.when(seconds(5), health(message.HealthRecovered)).ignores(chargingpoint.ErrUnchanged)
}

func TestAnotherLeaseIsStored(t *testing.T) {
	w := free(t)
	longer := health(message.HealthOK)
	longer.LeaseSeconds = 60
	w.when(seconds(5), longer).
		stores(ofPoint(chargingpoint.LeaseChanged{Lease: time.Minute})).
		sends(state(chargingpoint.Activated, seconds(5), 4))
}

func TestTheNetworksLeaseStandsOverTheMonitorsWhereItGivesOne(t *testing.T) {
	w := newWorld(t)
	w.central.Lease = time.Minute
	w.given(seconds(0), registration(cheap))
	w.when(seconds(1), health(message.HealthOK)).
		stores(ofPoint(
			chargingpoint.PointConnected{Lease: time.Minute, ReportedAt: seconds(1)},
			chargingpoint.FaultCleared{ReportedAt: seconds(1)},
		)).
		sends(state(chargingpoint.Activated, seconds(1), 3))
	silent := health(message.HealthOK)
	silent.LeaseSeconds = 0
	w.when(seconds(5), silent).
		stores(ofPoint(chargingpoint.LeaseChanged{Lease: 0})).
		sends(state(chargingpoint.Activated, seconds(5), 4))
}

func TestAFaultOfAFreePointIsShown(t *testing.T) {
	w := free(t)
	w.when(seconds(5), health(message.HealthKO)).
		stores(ofPoint(chargingpoint.FaultReported{ReportedAt: seconds(5)})).
		sends(state(chargingpoint.Broken, seconds(5), 4))
}

func TestAFaultEndsTheSupplyInTheSameTurn(t *testing.T) {
	w := supplying(t)
	w.when(seconds(5), health(message.HealthKO)).
		stores(
			ofPoint(chargingpoint.FaultReported{ReportedAt: seconds(5)}, stopOrdered(seconds(5), "KO")),
			ofSession(dans, session.EndDecided{Cause: session.CauseFault, Due: seconds(65)})).
		sends(stopAt(seconds(5), "KO"), state(chargingpoint.Broken, seconds(5), 6))
}

func TestARequestIsGranted(t *testing.T) {
	w := free(t)
	w.when(seconds(2), request(dan, danRequest)).
		stores(
			ofPoint(chargingpoint.PointOccupied{Session: dans, Driver: dan, Order: domain.Order(seconds(2)), ValidUntil: seconds(32)}),
			ofSession(dans, session.SupplyAuthorized{
				Point: cp1, Driver: dan, Request: danRequest, Origin: "driver", Price: cheap,
				Order: domain.Order(seconds(2)), ValidUntil: seconds(32), Due: seconds(62),
			})).
		sends(startAt(seconds(2)), grantOf(dan, danRequest), state(chargingpoint.Supplying, seconds(2), 4))
}

func TestARequestIsRefusedForTheFirstReasonThatHolds(t *testing.T) {
	for reason, given := range map[chargingpoint.Refusal]func(*testing.T) *world{
		chargingpoint.RefusedUnknown: func(t *testing.T) *world { return newWorld(t) },
		chargingpoint.RefusedDisconnected: func(t *testing.T) *world {
			w := newWorld(t)
			w.given(seconds(0), registration(cheap)) // its health was never reported
			return w
		},
		chargingpoint.RefusedBroken: func(t *testing.T) *world {
			w := free(t)
			w.given(seconds(4), health(message.HealthKO))
			return w
		},
		chargingpoint.RefusedOutOfOrder: func(t *testing.T) *world {
			w := free(t)
			w.given(seconds(4), control("c-1", message.ActionStop))
			return w
		},
		chargingpoint.RefusedOccupied: func(t *testing.T) *world { return granted(t) },
	} {
		t.Run(string(reason), func(t *testing.T) {
			w := given(t)
			evas := session.IDFor(cp1, eva, "r-2")
			w.when(seconds(5), request(eva, "r-2")).
				stores(ofSession(evas, session.SupplyRefused{
					Point: cp1, Driver: eva, Request: "r-2", Origin: "driver", Reason: string(reason),
				})).
				sends(refusalOf(eva, "r-2", reason))
		})
	}
}

func TestARequestIsAnsweredOnce(t *testing.T) {
	t.Run("a grant, while its session is open", func(t *testing.T) {
		w := supplying(t)
		w.when(seconds(9), request(dan, danRequest)).
			counts(session.ErrAlreadyAnswered).storesNothing().sends(grantOf(dan, danRequest))
	})
	t.Run("a grant, when its session is closed", func(t *testing.T) {
		w := closed(t)
		w.when(seconds(9), request(dan, danRequest)).
			counts(session.ErrAlreadyAnswered).storesNothing().sends(grantOf(dan, danRequest))
	})
	t.Run("a refusal, whatever has changed since", func(t *testing.T) {
		w := granted(t)
		w.given(seconds(3), request(eva, "r-2"))
		w.given(seconds(8), done(dans, 0, message.DoneFinished, seconds(8)))
		w.when(seconds(12), request(eva, "r-2")).
			counts(session.ErrAlreadyAnswered).storesNothing().sends(refusalOf(eva, "r-2", chargingpoint.RefusedOccupied))
	})
	t.Run("another request of the same driver is another session", func(t *testing.T) {
		w := closed(t)
		price := cheap
		id := session.IDFor(cp1, dan, "r-9")
		w.when(seconds(11), request(dan, "r-9")).sends(
			message.Order{
				Kind: message.OrderStart, Point: cp1, Session: id, Driver: dan, Price: &price,
				Number: domain.Order(seconds(11)), ValidUntil: seconds(41),
			},
			grantOf(dan, "r-9"), state(chargingpoint.Supplying, seconds(11), 6))
	})
}

func TestTheFirstSampleStartsTheSupply(t *testing.T) {
	w := granted(t)
	w.when(seconds(4), sample(dans, 1, 2, seconds(3))).
		stores(ofSession(dans,
			session.SupplyStarted{At: seconds(3)},
			session.MeterValueRecorded{
				Seq: 1, Energy: 2_000, Measured: 2_000, Power: 7_000, AmountReported: 600, At: seconds(3),
				Source: w.source(), Due: seconds(64),
			})).
		sendsNothing()
}

func TestANewerSampleIsStoredWithoutACause(t *testing.T) {
	w := supplying(t)
	w.when(seconds(4), sample(dans, 2, 3, seconds(4))).
		stores(ofSession(dans, session.MeterValueRecorded{
			Seq: 2, Energy: 3_000, Measured: 3_000, Power: 7_000, AmountReported: 900, At: seconds(4),
			Source: w.source(), Due: seconds(64),
		})).
		sendsNothing()
	if !w.outcome.commits[0].Cause.IsZero() {
		t.Error("a sample alone needs no cause")
	}
}

func TestASampleThatIsNotNewerIsIgnoredAndCountedInTheNextLifecycleEvent(t *testing.T) {
	w := supplying(t)
	w.given(seconds(4), sample(dans, 5, 9, seconds(4)))
	w.when(seconds(5), sample(dans, 4, 8, seconds(5))).ignores(session.ErrNotNewer)
	w.when(seconds(5), sample(dans, 5, 9, seconds(5))).ignores(session.ErrNotNewer)
	w.when(seconds(5), sample(dans, 6, 7, seconds(5))).ignores(session.ErrRunsBackwards)
	stranger := sample(dans, 7, 10, seconds(5))
	stranger.Driver = eva
	w.when(seconds(5), stranger).rejects(session.ErrForeignDriver) // and forgets nothing
	w.when(seconds(6), health(message.HealthKO)).stores(
		ofPoint(chargingpoint.FaultReported{ReportedAt: seconds(6)}, stopOrdered(seconds(6), "KO")),
		ofSession(dans, session.EndDecided{
			Cause: session.CauseFault, Due: seconds(66), Ignored: session.Ignored{NotNewer: 2, RunsBackwards: 1},
		}))
}

func TestASampleWhileTheDoneIsAwaitedIsStored(t *testing.T) {
	w := supplying(t)
	w.given(seconds(5), control("c-1", message.ActionStop))
	w.when(seconds(6), sample(dans, 2, 4, seconds(6))).
		stores(ofSession(dans, session.MeterValueRecorded{
			Seq: 2, Energy: 4_000, Measured: 4_000, Power: 7_000, AmountReported: 1_200, At: seconds(6), Source: w.source(),
		})).
		sendsNothing()
}

func TestASampleTwoSecondsAfterTheEndOrdersTheStopAgain(t *testing.T) {
	t.Run("while the done is awaited, the sample too", func(t *testing.T) {
		w := supplying(t)
		w.given(seconds(5), health(message.HealthKO))
		w.when(seconds(16), sample(dans, 2, 4, seconds(16))).
			stores(
				ofPoint(stopOrdered(seconds(16), "KO")),
				ofSession(dans, session.MeterValueRecorded{
					Seq: 2, Energy: 4_000, Measured: 4_000, Power: 7_000, AmountReported: 1_200, At: seconds(16), Source: w.source(),
				})).
			sends(stopAt(seconds(16), "KO"), state(chargingpoint.Broken, seconds(16), 7)).
			countsNothing()
	})
	t.Run("of a closed session", func(t *testing.T) {
		w := closed(t)
		w.when(at(10_001*time.Millisecond), sample(dans, 9, 9, seconds(10))).
			counts(session.ErrClosed).
			stores(ofPoint(stopOrdered(at(10_001*time.Millisecond), "CLOSED"))).
			sends(stopAt(at(10_001*time.Millisecond), "CLOSED"), state(chargingpoint.Activated, at(10_001*time.Millisecond), 6))
	})
	t.Run("not within two seconds", func(t *testing.T) {
		w := closed(t)
		w.when(seconds(10), sample(dans, 9, 9, seconds(10))).ignores(session.ErrClosed)
	})
	t.Run("at most every ten seconds", func(t *testing.T) {
		w := closed(t)
		w.when(seconds(11), sample(dans, 9, 9, seconds(11))).stores(ofPoint(stopOrdered(seconds(11), "CLOSED")))
		w.when(seconds(20), sample(dans, 10, 9, seconds(20))).ignores(session.ErrClosed)
		w.when(seconds(21), sample(dans, 11, 9, seconds(21))).stores(ofPoint(stopOrdered(seconds(21), "CLOSED")))
	})
	t.Run("and the sample that is awaited is no ignored one", func(t *testing.T) {
		w := supplying(t)
		w.given(seconds(5), health(message.HealthKO))
		w.when(seconds(8), sample(dans, 2, 4, seconds(8))).sendsNothing().countsNothing()
	})
	t.Run("not while another session runs there", func(t *testing.T) {
		w := closed(t)
		w.given(seconds(11), request(eva, "r-2"))
		w.when(seconds(20), sample(dans, 9, 9, seconds(20))).ignores(session.ErrClosed)
	})
	t.Run("where the broker's clock is not trusted, by our own", func(t *testing.T) {
		w := closed(t)
		received := w.record(domain.UnixMillis(1), sample(dans, 9, 9, seconds(10)))
		received.Source.Trusted = false
		w.whenReceived(seconds(11), received).stores(ofPoint(stopOrdered(seconds(11), "CLOSED")))
	})
}

func TestADoneClosesTheSession(t *testing.T) {
	w := supplying(t)
	w.when(seconds(8), done(dans, 5, message.DoneFinished, seconds(8))).
		stores(
			ofPoint(chargingpoint.PointReleased{Session: dans}),
			ofSession(dans,
				session.SupplyEnded{Reason: "FINISHED", EnergyReported: 5_000, AmountReported: 1_500, At: seconds(8), Source: w.source()},
				session.TicketIssued{
					Ticket: ticketID(), StartedAt: seconds(3), EndedAt: seconds(8), Energy: 5_000, Price: cheap, Amount: 1_500, Reason: "FINISHED",
				})).
		sends(
			w.ticket(message.Ticket{StartedAt: seconds(3), EndedAt: seconds(8), Energy: 5_000, Reason: "FINISHED"}),
			state(chargingpoint.Activated, seconds(8), 5))
}

func TestADoneOfAClosedSession(t *testing.T) {
	t.Run("with more than was billed revises the ticket", func(t *testing.T) {
		w := closed(t)
		w.when(seconds(20), done(dans, 7, message.DoneRecovered, seconds(9))).
			stores(ofSession(dans, session.TicketRevised{
				Revision: 1, EnergyBefore: 5_000, EnergyAfter: 7_000, AmountBefore: 1_500, AmountAfter: 2_100, AmountDifference: 600,
				Reason: "RECOVERED", EndedAt: seconds(9), Source: w.source(),
			})).
			sends(w.ticket(message.Ticket{StartedAt: seconds(3), EndedAt: seconds(9), Energy: 7_000, Reason: "FINISHED", Revision: 1, Revised: message.Revised{
				EnergyBefore: 5_000, AmountBefore: 1_500, Difference: 600, Reason: "RECOVERED",
			}}))
	})
	for name, wh := range map[string]int64{"repeated": 5, "with less": 4, "with nothing": 0} {
		t.Run(name+" is ignored", func(t *testing.T) {
			w := closed(t)
			w.when(seconds(20), done(dans, wh, message.DoneRecovered, seconds(9))).ignores(session.ErrClosed)
		})
	}
}

func TestAStopEndsTheSupplyAndStays(t *testing.T) {
	w := supplying(t)
	w.when(seconds(5), control("c-1", message.ActionStop)).
		stores(
			ofPoint(chargingpoint.TakenOutOfService{
				RecordedAt: seconds(5), By: "ops", Order: domain.Order(seconds(5)), ValidUntil: seconds(5).Add(24 * time.Hour),
				Session: dans, HoldUntil: seconds(7),
			}),
			ofSession(dans, session.EndDecided{Cause: session.CauseStopped, Due: seconds(65)})).
		sends(
			orderAt(seconds(5), message.OrderOutOfOrder), stopAt(seconds(5), "STOP_BY_CENTRAL"),
			answering(state(chargingpoint.OutOfOrder, seconds(5), 5), "c-1", ""))

	t.Run("across a restart", func(t *testing.T) {
		w.restart(seconds(6))
		w.given(seconds(7), done(dans, 4, message.DoneStopped, seconds(7)))
		w.when(seconds(8), health(message.HealthOK)).ignores(chargingpoint.ErrUnchanged)
		w.when(seconds(9), request(eva, "r-2")).sends(refusalOf(eva, "r-2", chargingpoint.RefusedOutOfOrder))
	})
}

func TestAStopOfAFreePointStopsNoSupply(t *testing.T) {
	w := free(t)
	w.when(seconds(5), control("c-1", message.ActionStop)).
		stores(ofPoint(chargingpoint.TakenOutOfService{
			RecordedAt: seconds(5), By: "ops", Order: domain.Order(seconds(5)), ValidUntil: seconds(5).Add(24 * time.Hour),
		})).
		sends(
			orderAt(seconds(5), message.OrderOutOfOrder),
			answering(state(chargingpoint.OutOfOrder, seconds(5), 4), "c-1", ""))
}

func TestAResumeEndsNoSupply(t *testing.T) {
	w := free(t)
	w.given(seconds(4), control("c-1", message.ActionStop))
	w.when(seconds(5), control("c-2", message.ActionResume)).
		stores(ofPoint(chargingpoint.ReturnedToService{
			RecordedAt: seconds(5), By: "ops", Order: domain.Order(seconds(5)), ValidUntil: seconds(5).Add(24 * time.Hour),
		})).
		sends(orderAt(seconds(5), message.OrderResume), answering(state(chargingpoint.Activated, seconds(5), 5), "c-2", ""))
}

func TestAnOperatorIsAnsweredAlsoWhereNothingChanges(t *testing.T) {
	w := free(t)
	w.when(seconds(5), control("c-1", message.ActionResume)).
		counts(chargingpoint.ErrUnchanged).storesNothing().
		sends(answering(state(chargingpoint.Activated, seconds(1), 3), "c-1", ""))
	w.given(seconds(6), control("c-2", message.ActionStop))
	w.when(seconds(7), control("c-3", message.ActionStop)).
		counts(chargingpoint.ErrUnchanged).storesNothing().
		sends(answering(state(chargingpoint.OutOfOrder, seconds(6), 4), "c-3", ""))
	w.whenReceived(seconds(8), w.record(seconds(5), control("c-4", message.ActionResume))).
		counts(chargingpoint.ErrNotLater).storesNothing().
		sends(answering(state(chargingpoint.OutOfOrder, seconds(6), 4), "c-4", chargingpoint.ErrNotLater.Error()))
}

func TestAnOperatorStartsASupply(t *testing.T) {
	w := free(t)
	start := control("c-1", message.ActionStart)
	start.Driver = dan
	id := session.IDFor(cp1, dan, "c-1")
	order := startAt(seconds(2))
	order.Session, order.Commanded = id, true
	w.when(seconds(2), start).
		stores(
			ofPoint(chargingpoint.PointOccupied{Session: id, Driver: dan, Order: domain.Order(seconds(2)), ValidUntil: seconds(32)}),
			ofSession(id, session.SupplyAuthorized{
				Point: cp1, Driver: dan, Request: "c-1", Origin: "operator", Price: cheap,
				Order: domain.Order(seconds(2)), ValidUntil: seconds(32), Due: seconds(62),
			})).
		sends(order, grantOf(dan, "c-1"), state(chargingpoint.Supplying, seconds(2), 4))
	w.when(seconds(3), func() message.Control { start.ID, start.Driver = "c-2", eva; return start }()).
		sends(refusalOf(eva, "c-2", chargingpoint.RefusedOccupied))
}

func TestAnOperatorsPriceStandsOverRegistrations(t *testing.T) {
	w := free(t)
	set, operators := control("c-1", message.ActionPrice), domain.MicroEurosPerKWh(500_000)
	set.Price = &operators
	shown := state(chargingpoint.Activated, seconds(2), 4)
	shown.Price = operators
	w.when(seconds(2), set).
		stores(ofPoint(chargingpoint.PriceSet{Price: operators, By: "ops"})).
		sends(answering(shown, "c-1", ""))
	w.given(seconds(3), registration(200_000))
	w.when(seconds(4), request(dan, danRequest)).sends(
		func() message.Message { o := startAt(seconds(4)); o.Price = &operators; return o }(),
		func() message.Message { a := grantOf(dan, danRequest); a.Price = &operators; return a }(),
		func() message.Message {
			s := state(chargingpoint.Supplying, seconds(4), 6)
			s.Price = operators
			return s
		}())

	shown = state(chargingpoint.Supplying, seconds(5), 7)
	shown.Price = 200_000
	w.when(seconds(5), control("c-2", message.ActionPrice)).
		stores(ofPoint(chargingpoint.PriceHandedBack{By: "ops"})).
		sends(answering(shown, "c-2", ""))
	t.Run("a running session keeps its price", func(t *testing.T) {
		w.given(seconds(6), done(dans, 1000, message.DoneFinished, seconds(6)))
		if bill := sent[message.Ticket](w); bill.Price != operators || bill.Amount != euro/2 {
			t.Errorf("billed %s EUR at %s", bill.Amount, bill.Price)
		}
	})
}
