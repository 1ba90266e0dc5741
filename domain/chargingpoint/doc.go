// Package chargingpoint is the aggregate ChargingPoint: what Central knows of a
// point, and whether it may supply.
//
// It keeps independent facts (registered, connected, healthy, in service,
// occupied) and derives the state that is shown. Each command is a file: it
// guards, records, returns. The table of which input is ignored and which is
// refused stands in package session, for both aggregates.
//
// What a supply costs is the point's own price, which its registration says, or an
// operator's, which stands over it. An operator's word counts from an instant on, and for
// ever: it replaces all that was said for that instant or later, and leaves what was said
// for earlier ones. So whoever plans ahead says the changes in their order, and whoever
// changes the price at once has dropped what was planned. T1 is to come, T2 comes after it;
// each row has a test of its name:
//
//	Said before                     Said now        Costs now   At T1   At T2
//	nothing                         nothing         own         own     own
//	nothing                         0.42            0.42        0.42    0.42
//	nothing                         0.42 from T1    own         0.42    0.42
//	0.50                            0.42 from T1    0.50        0.42    0.42
//	0.50                            auto            own         own     own
//	0.50                            auto from T1    0.50        own     own
//	0.50 from T1                    0.42            0.42        0.42    0.42
//	0.50 from T1                    0.42 from T1    own         0.42    0.42
//	0.50 from T1                    0.42 from T2    own         0.50    0.42
//	0.50 from T2                    0.42 from T1    own         0.42    0.42
//	0.50 from T1                    auto            own         own     own
//	0.50 from T1                    auto from T2    own         0.50    own
//	0.50, 0.60 from T1              0.50            0.50        0.50    0.50
//	0.50, 0.60 from T1, 0.70 from T2    0.50 from T1    0.50    0.50    0.50
//	0.50 from T1, 0.60 from T2      auto            own         own     own
//
// A session keeps the price of the instant at which it was granted. At T1 the new price
// counts, whether anybody notices or not; PriceTookEffect says that Central has, so that
// it is shown. A price that is said for an instant that has come counts at once: nothing
// that was granted changes.
package chargingpoint
