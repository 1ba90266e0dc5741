package bbolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// What is known here of bbolt's pages. A page begins with its number (8 bytes), its flags and
// how many elements it has (2 each), and how many pages continue it (4). An element has 16
// bytes: in a leaf flags, where its key is (counted from the element), and the lengths of key
// and value behind that; in a branch where its key is, its length, and the page below. Keys
// and values lie one after another behind the elements.
const (
	pageHeader  = 16
	pageElement = 16
	branchPage  = 0x01
	leafPage    = 0x02
	freePage    = 0x10
	bucketFlag  = 0x01
	// A bucket's value begins with its root, a page, or 0: then the page is in the value.
	bucketHeader = 16
	metaLength   = 64
	metaMagic    = 0xED0CDAED
)

// native is the byte order in which bbolt writes.
var native = binary.NativeEndian

// meta is one of the two pages that say where everything begins.
type meta struct{ pageSize, root, freelist, end, transaction uint64 }

// readMeta reads what begins with a meta page; ok is false where its checksum is wrong.
func readMeta(page []byte) (m meta, ok bool) {
	if len(page) < pageHeader+metaLength {
		return meta{}, false
	}
	b := page[pageHeader : pageHeader+metaLength]
	h := fnv.New64a()
	h.Write(b[:metaLength-8])
	m = meta{uint64(native.Uint32(b[8:])), native.Uint64(b[16:]), native.Uint64(b[32:]), native.Uint64(b[40:]), native.Uint64(b[48:])}
	return m, native.Uint32(b) == metaMagic && h.Sum64() == native.Uint64(b[metaLength-8:]) && m.pageSize >= 1024 && m.pageSize <= 1<<16
}

// checkPages is nil where the pages of a file are as bbolt wrote them, as far as that can be told
// without their content: both meta pages, the length of each page's elements, and that each
// page is used once or free. bbolt has no checksum of its pages: where one bit says that a
// page has fewer elements, or that an older one is the root, it reads less and says nothing.
func checkPages(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	w := walk{file: file, size: uint64(info.Size())}
	if err := w.all(); err != nil {
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	return nil
}

// walk goes over all pages of a file.
type walk struct {
	file io.ReaderAt
	size uint64
	meta
	seen []bool
	// last is the last key of the leaves so far, in a bucket; no key is less than least, from there on.
	last, least []byte
}

func (w *walk) all() error {
	first := make([]byte, pageHeader+metaLength)
	if _, err := w.file.ReadAt(first, 0); err != nil {
		return errors.New("it is cut off")
	}
	one, ok := readMeta(first)
	if !ok {
		return errors.New("its first page is not as it was written")
	}
	if _, err := w.file.ReadAt(first, int64(one.pageSize)); err != nil {
		return errors.New("it is cut off")
	}
	two, ok := readMeta(first)
	if !ok || two.pageSize != one.pageSize {
		return errors.New("its second page is not as it was written")
	}
	// Each transaction writes the page of its parity, so the two are of neighbours.
	switch {
	case one.transaction+1 == two.transaction:
		w.meta = two
	case two.transaction+1 == one.transaction:
		w.meta = one
	default:
		return errors.New("its first two pages are not of one file")
	}
	if one.transaction%2 != 0 {
		return errors.New("its first two pages are exchanged")
	}
	if w.end > w.size/w.pageSize {
		return errors.New("it is cut off")
	}
	w.seen = make([]bool, w.end)
	w.seen[0], w.seen[1] = true, true
	if err := w.tree(w.root, true); err != nil {
		return err
	}
	if err := w.free(); err != nil {
		return err
	}
	for number, seen := range w.seen {
		if !seen {
			return fmt.Errorf("page %d is lost", number)
		}
	}
	return nil
}

// page reads a page, and those that continue it.
func (w *walk) page(number uint64) ([]byte, error) {
	if number >= w.end {
		return nil, fmt.Errorf("page %d is beyond the end", number)
	}
	page := make([]byte, w.pageSize)
	if _, err := w.file.ReadAt(page, int64(number*w.pageSize)); err != nil {
		return nil, err
	}
	more := uint64(native.Uint32(page[12:]))
	if native.Uint64(page) != number || number+more >= w.end {
		return nil, fmt.Errorf("page %d is another one", number)
	}
	if more > 0 {
		page = make([]byte, (1+more)*w.pageSize)
		if _, err := w.file.ReadAt(page, int64(number*w.pageSize)); err != nil {
			return nil, err
		}
	}
	return page, w.see(number, more+1)
}

func (w *walk) see(number, pages uint64) error {
	for n := number; n < number+pages; n++ {
		if n >= w.end || w.seen[n] {
			return fmt.Errorf("page %d is there twice", n)
		}
		w.seen[n] = true
	}
	return nil
}

// tree goes over a page and all below it. Buckets are at the top alone.
func (w *walk) tree(number uint64, top bool) error {
	page, err := w.page(number)
	if err != nil {
		return err
	}
	if err := w.elements(page, top); err != nil {
		return fmt.Errorf("page %d %w", number, err)
	}
	return nil
}

func (w *walk) elements(page []byte, top bool) error {
	flags, count := native.Uint16(page[8:]), int(native.Uint16(page[10:]))
	if flags != leafPage && flags != branchPage {
		return errors.New("is of no kind")
	}
	if count == 0 {
		if flags == leafPage && (len(page) < pageHeader+pageElement || native.Uint64(page[pageHeader+8:]) == 0) {
			return nil // an empty bucket
		}
		return errors.New("has elements, and says that it has none")
	}
	next := pageHeader + count*pageElement
	if next > len(page) {
		return errors.New("has more elements than room")
	}
	for i := range count {
		at := pageHeader + i*pageElement
		e := page[at : at+pageElement]
		position, key, value := uint64(native.Uint32(e[4:])), uint64(native.Uint32(e[8:])), uint64(native.Uint32(e[12:]))
		if flags == branchPage {
			position, key, value = uint64(native.Uint32(e)), uint64(native.Uint32(e[4:])), 0
		}
		if uint64(at)+position != uint64(next) || uint64(next)+key+value > uint64(len(page)) {
			return fmt.Errorf("has element %d elsewhere", i)
		}
		name := page[next : next+int(key)]
		if w.last != nil && bytes.Compare(name, w.last) <= 0 || bytes.Compare(name, w.least) < 0 {
			return fmt.Errorf("has element %d out of order", i)
		}
		if w.least = name; flags == leafPage {
			w.last = name
		}
		next += int(key + value)
		switch {
		case flags == branchPage:
			if err := w.tree(native.Uint64(e[8:]), top); err != nil {
				return fmt.Errorf("leads on: %w", err)
			}
		case !top && native.Uint32(e) != 0, top && native.Uint32(e) != bucketFlag:
			return fmt.Errorf("has element %d of no kind", i)
		case top:
			if err := w.bucket(page[next-int(value) : next]); err != nil {
				return fmt.Errorf("has a bucket: %w", err)
			}
		}
	}
	return nil
}

func (w *walk) bucket(value []byte) error {
	if len(value) < bucketHeader {
		return errors.New("it is cut off")
	}
	last, least := w.last, w.least
	w.last, w.least = nil, nil
	defer func() { w.last, w.least = last, least }()
	if root := native.Uint64(value); root != 0 {
		if len(value) != bucketHeader {
			return errors.New("it is longer than it should be")
		}
		return w.tree(root, false)
	}
	if len(value) < bucketHeader+pageHeader {
		return errors.New("it is cut off")
	}
	return w.elements(value[bucketHeader:], false)
}

// free takes note of the pages that are free.
func (w *walk) free() error {
	page, err := w.page(w.freelist)
	if err != nil {
		return err
	}
	if native.Uint16(page[8:]) != freePage {
		return errors.New("its list of free pages is none")
	}
	count, ids := uint64(native.Uint16(page[10:])), page[pageHeader:]
	if count == 0xFFFF {
		count, ids = native.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return errors.New("its list of free pages is cut off")
	}
	for i := range count {
		if err := w.see(native.Uint64(ids[8*i:]), 1); err != nil {
			return err
		}
	}
	return nil
}
