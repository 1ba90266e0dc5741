// Package mongo keeps the network in MongoDB, for any number of processes that share it:
// the event log, its projections, and when points were last heard.
//
// Everything is written with write concern majority, journaled, and read from the primary
// with read concern majority. So it wants a replica set; one server is enough.
//
// # The log
//
// A commit is one document of the collection events, and nothing ever changes it but that
// samples of old sessions are moved to an archive (archive.go):
//
//	_id        the commit's id (UUID)
//	position   its place among all commits (int64, unique)
//	at, time   the turn's time: in milliseconds, and as a date for whoever looks
//	cause      topic/partition@offset#digest; absent where there is none (unique)
//	keys       stream@version of each part, the version of 20 digits (unique, one by one)
//	lifecycle  the streams of its parts, but where it is
//	sample     a sample alone: then this is its stream
//	closing    the streams that it closes
//	parts      stream, version, events, kind, prev, hash, body: the part's text as it came
//	           (binary where it is no UTF-8), and nth: how many of the stream's parts up to
//	           this one are no samples
//
// Two writers who decided on the same state of a stream want the same key, and one of them
// gets it: that alone decides. Prev, nth and the order of positions follow from the head that
// a writer went on from, which is true for ever once it was read, so a writer who knows it
// needs no look at the collection; every process remembers some heads (heads.go).
//
// # Positions
//
// A counter in meta gives them, to a group at a time, after its members were decided. So a
// part's position is behind that of the part before it, and whatever was stored when somebody
// asked for the end of the log lies before all that is decided on it: All up to that end has
// no part whose predecessor is missing, whatever is under way. Positions may stay unused, and
// an insert that arrives late, when its writer has long left, takes its place below the end
// (or is refused, where somebody else took its key). That is why Follow, and not All, is for
// what comes next. A counter that is lost or behind goes on a million behind the greatest
// position: two that were given away twice meet at the unique index.
//
// # Writing
//
// Commits that arrive together go out as one unordered InsertMany; up to two groups are
// under way that share no stream and no cause. A document that is refused fails its own caller:
// with CauseStoredError, with ConflictError, or with nil where it is stored already. After an
// error of the network the group is looked for by its ids before anybody is answered; who was
// not found, and would have been, tries the same commit again. A caller waits for 10 s at
// most.
//
// # Finding
//
// Reads name the keys they want, a window at a time, for the next part begins where the last
// one ends; the parts without the samples are found by lifecycle, the last sample by one step
// in an index on sample and position. Both cost the same however many samples there are. No
// sort is on a field with an array, and no index is on two fields of an array's elements.
//
// The collection open has a mark for each stream that may be open, written before the part
// that opens it and removed after it has closed (open.go). It holds nothing that the log does
// not, and is made anew where it was dropped.
//
// # When something is wrong
//
// A document that is not as it was written, or is missing, is eventlog.ErrDamaged for the
// streams that it concerns. What is missing is seen by the part after it, and by nth; a stream
// whose last parts are gone is a shorter stream, for nothing tells that there were more.
package mongo
