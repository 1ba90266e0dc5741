// Package bbolt keeps the event log in a folder of bbolt files, for one process.
//
// # The folder
//
//	log                       manifest: format of the folder, id of the network
//	lock                      held by the process that has the log
//	00000000000000000001.seg  segment: the commits from position 1 on, one bucket, only
//	                          ever appended to
//	00000000000000000001.idx  index of that segment, written once, when it is full
//	index.db                  directory: what is known of all segments that have an index
//	suspect                   mark: a write has failed, the newest files are copied at start
//
// The segments are the log; a segment that is full (64 MiB) changes only where it is archived. Indices
// and directory hold nothing that the segments don't: where index.db is gone, or an index is not
// as it was made, all of them are made again at the next start. Any file is there whole or not at
// all, for it is made beside its place (.tmp) and put there when it is on the disk.
//
// # Writing
//
// One goroutine writes: it takes all callers that wait, looks at causes and versions in
// memory, puts the commits into one bbolt transaction, and answers when that is synced. A
// sample costs the same whether its session is a second old or a day.
//
// # Archiving
//
// Archive writes segments anew without the samples that were moved to an archive, each
// put in the place of the old one once it is on the disk; all indices are made again. A
// record in their place says how many positions it stands for, and of a stream which
// versions are gone, between which hashes: so what is left is as contiguous as before, and
// what is lost without an archive is still found.
//
// # Memory
//
// In memory are the states of the open streams, and places and causes of the segments
// that have no index: the one that is written to, and while it is being indexed the one
// before it. A start reads the directory, and the headers in these segments.
//
// # When something is wrong
//
// A crash at any moment leaves nothing that was acknowledged undone, and is healed at the
// next start. After a write or a sync that failed, nothing is written to the same files
// again: appending fails, and once a second the log copies the files in doubt, syncs the
// copies, reads from them what is stored, and goes on.
//
// Damage (a checksum or a hash that is wrong, a page that makes no sense) is
// eventlog.ErrDamaged for the streams that it concerns. Where the pages of a segment make no
// sense, what can be had back of it is read from a copy in a temporary folder: every record
// that is in any page, with the checksum and the hashes of its own. A segment with an index
// may be broken so, and the log goes on: the index knows where its streams end. A segment
// without one, the newest above all, may not: a stream whose end is lost can't be told from
// one that is whole, and would be continued at a version that was there. Then Open refuses,
// having changed no segment, and OpenToRead reads what there is. bbolt has no checksum of its
// pages: that nothing of such a segment is missing is told by its pages' elements, each in
// its place, and by each page being in use once, or free. Of its two meta pages both have to be
// right, and of two transactions one after the other: what they say lies in one sector, which a
// disk writes whole, so a crash tears none.
package bbolt
