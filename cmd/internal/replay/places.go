package replay

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"iter"

	"evcharging/application/eventlog"
)

// places are where the lines of each stream are in a file. Their memory is 16 bytes for a part, and
// some 30 for a stream.
type places struct {
	seed maphash.Seed
	// streams are by a hash of their names: two may share one.
	streams map[uint64]ends
	lines   []placed
	damages []*eventlog.DamagedError
	// first is what is wrong with the first line that can't be read, and which that is; nil where all can.
	first error
}

// ends are the first and the last line of a stream.
type ends struct{ first, last uint32 }

// placed is a place in a chain. The next is that of the stream's next line, 0 behind the last. A
// length of 0 is a damage's, and the offset its number.
type placed struct {
	offset       int64
	length, next uint32
}

// place is where a line is, or what is wrong with it.
type place struct {
	offset, length int64
	damage         *eventlog.DamagedError
}

func newPlaces() *places {
	return &places{seed: maphash.MakeSeed(), streams: map[uint64]ends{}}
}

// add adds the next line of a stream.
func (p *places) add(stream eventlog.Stream, at place) {
	// A line has at most jsonl.MaxLine bytes, and a file of 2^32 lines would not be read at all.
	line := placed{offset: at.offset, length: uint32(at.length)}
	if at.damage != nil {
		line = placed{offset: int64(len(p.damages))}
		p.damages = append(p.damages, at.damage)
	}
	number, key := uint32(len(p.lines)), maphash.String(p.seed, string(stream))
	p.lines = append(p.lines, line)
	of, there := p.streams[key]
	if there {
		p.lines[of.last].next = number
	} else {
		of.first = number
	}
	of.last = number
	p.streams[key] = of
}

// damage adds a line that can't be read.
func (p *places) damage(d *eventlog.DamagedError) {
	p.first = cmp.Or(p.first, fmt.Errorf("%s: %w", d.Where, d.Reason))
	if d.Stream != "" {
		p.add(d.Stream, place{damage: d})
	}
}

// of gives the lines of a stream in their order, and perhaps some of another's.
func (p *places) of(stream eventlog.Stream) iter.Seq[place] {
	return func(yield func(place) bool) {
		of, there := p.streams[maphash.String(p.seed, string(stream))]
		for number := of.first; there; {
			line, at := p.lines[number], place{}
			if line.length == 0 {
				at.damage = p.damages[line.offset]
			} else {
				at.offset, at.length = line.offset, int64(line.length)
			}
			if !yield(at) || line.next == 0 {
				return
			}
			number = line.next
		}
	}
}
