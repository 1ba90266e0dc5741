package mongo

import (
	"encoding/hex"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/domain"
	"evcharging/domain/session"
)

// A log that has lost the end of a stream, or a whole stream, may have lost a bill, and the
// session's document is then the one place beside Kafka that still has it. So a document's bill
// is replaced by the log's only, and otherwise stays.

// bill is what a stored document says of a session's bill.
type bill struct {
	// digest names the part of the log that has it; revision is 0 until it was corrected.
	digest        string
	revision      int64
	energy, total bson.RawValue
}

// billOf is the bill that a stored document has of a session; has is false where it has none, or
// none of this session: a document can be copied.
func billOf(id string, found bson.Raw) (b bill, has bool) {
	ticket, ok := found.Lookup("ticket").DocumentOK()
	if of, _ := ticket.Lookup("ticket_id").StringValueOK(); !ok || of != string(session.TicketFor(domain.SessionID(id))) {
		return b, false
	}
	b.digest, has = ticket.Lookup("digest").StringValueOK()
	b.revision, _ = ticket.Lookup("revision").AsInt64OK()
	b.energy, b.total = ticket.Lookup("total_kwh"), ticket.Lookup("total_eur")
	return b, has
}

func (b bill) String() string {
	return fmt.Sprintf("%s kWh, %s EUR, revision %d, digest %s", valueText(b.energy), valueText(b.total), b.revision, b.digest)
}

// digests name the bills of a session, each that the log has of it in their order.
func (f *fold) digests() (all []string) {
	for _, hash := range f.bills {
		all = append(all, hex.EncodeToString(hash[:]))
	}
	return all
}

// lacks tells whether a stored document has a bill, or a correction of it, and the log has not,
// nor another in its place.
func (p projection) lacks(found bson.Raw) bool {
	b, has := billOf(p.id, found)
	return has && p.collection == sessionsCollection && b.revision >= int64(len(p.bills))
}

// contradicts tells whether a stored document has a bill that is none of the log's.
func (p projection) contradicts(found bson.Raw) bool {
	b, has := billOf(p.id, found)
	return has && p.collection == sessionsCollection && !slices.Contains(p.bills, b.digest)
}

// follows tells whether a stored document may be replaced by a later one without a look at it:
// it has no ticket, or one of the log's.
func (p projection) follows(found bson.Raw) bool {
	ticket := found.Lookup("ticket")
	if p.collection != sessionsCollection || ticket.IsZero() || ticket.Type == bson.TypeNull {
		return true
	}
	digest, _ := found.Lookup("ticket", "digest").StringValueOK()
	return slices.Contains(p.bills, digest)
}

// followed is the condition that follows looks at. Of a ticket that is no document it may
// say something else.
func (p projection) followed() bson.E {
	digests := bson.A{nil} // none is one, too
	for _, d := range p.bills {
		digests = append(digests, d)
	}
	return bson.E{Key: "ticket.digest", Value: bson.D{{Key: "$in", Value: digests}}}
}
