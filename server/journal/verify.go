package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// The parts of bbolt's file format, version 2, that are needed to look through a file without
// trusting it. bbolt itself follows whatever stands in the file through mapped memory: a damaged page
// ends the process with a fault that can't be caught.
const (
	pageHeader  = 16 // id uint64, flags uint16, count uint16, overflow uint32
	element     = 16 // branch: pos, ksize uint32, page uint64; leaf: flags, pos, ksize, vsize uint32
	bucketValue = 16 // root page uint64, sequence uint64; a small bucket's page follows

	branchPage = 0x01
	leafPage   = 0x02
	bucketLeaf = 0x01

	metaMagic = 0xED0CDAED
	metaSize  = 64 // magic, version, page size, flags uint32, root, sequence, freelist, high, tx, checksum uint64
)

// verifier walks a file's pages. Integers are in the byte order of the machine, as bbolt has it.
type verifier struct {
	file io.ReaderAt
	size int    // of a page
	high uint64 // pages from here on do not exist
	seen map[uint64]bool
}

// verify reads every page that can be reached, and answers what is wrong with the first bad one.
func verify(file io.ReaderAt, pageSize int) error {
	v := verifier{file: file, size: pageSize, seen: map[uint64]bool{}}
	root, err := v.metas()
	if err != nil {
		return err
	}
	// The last page may never have been written, but the file was grown to hold it.
	if _, err := file.ReadAt(make([]byte, 1), int64(v.high)*int64(pageSize)-1); err != nil {
		return fmt.Errorf("it is cut off before page %d", v.high)
	}
	return v.page(root, nil, nil)
}

// metas answers the root page of the newer valid meta page.
func (v *verifier) metas() (root uint64, err error) {
	var newest uint64
	found := false
	for i := range int64(2) {
		m := make([]byte, metaSize)
		if _, err := v.file.ReadAt(m, i*int64(v.size)+pageHeader); err != nil {
			return 0, fmt.Errorf("reading meta page %d: %w", i, err)
		}
		order := binary.NativeEndian
		sum := fnv.New64a()
		_, _ = sum.Write(m[:metaSize-8])
		tx := order.Uint64(m[48:])
		switch {
		case order.Uint32(m) != metaMagic, order.Uint64(m[56:]) != sum.Sum64():
		case !found || tx > newest:
			found, newest = true, tx
			root, v.high = order.Uint64(m[16:]), order.Uint64(m[40:])
		}
	}
	if !found {
		return 0, errors.New("it has no valid meta page")
	}
	return root, nil
}

// page checks a page and all below it. Its keys are not smaller than from, and smaller than to, if
// that is not nil.
func (v *verifier) page(id uint64, from, to []byte) error {
	if id < 2 || id >= v.high {
		return fmt.Errorf("there is no page %d", id)
	}
	at := int64(id) * int64(v.size)
	head := make([]byte, pageHeader)
	if _, err := v.file.ReadAt(head, at); err != nil {
		return fmt.Errorf("reading page %d: %w", id, err)
	}
	over := uint64(binary.NativeEndian.Uint32(head[12:]))
	if is := binary.NativeEndian.Uint64(head); is != id || over >= v.high-id {
		return fmt.Errorf("page %d is not what it should be", id)
	}
	for p := id; p <= id+over; p++ {
		if v.seen[p] {
			return fmt.Errorf("page %d is used twice", p)
		}
		v.seen[p] = true
	}
	raw := make([]byte, (over+1)*uint64(v.size))
	if _, err := v.file.ReadAt(raw, at); err != nil {
		return fmt.Errorf("reading page %d: %w", id, err)
	}
	if err := v.elements(raw, from, to); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// elements checks what stands on a page, which for small buckets is a value on another page.
func (v *verifier) elements(raw, from, to []byte) error {
	flags, all, err := split(raw)
	if err != nil {
		return err
	}
	for i, e := range all {
		next := to
		if i+1 < len(all) {
			next = all[i+1].key
		}
		if bytes.Compare(e.key, from) < 0 || next != nil && bytes.Compare(e.key, next) >= 0 {
			return fmt.Errorf("element %d is out of order", i)
		}
		switch {
		case flags == branchPage:
			err = v.page(e.page, e.key, next)
		case e.flags == bucketLeaf:
			err = v.bucket(e.value)
		case e.flags != 0:
			err = fmt.Errorf("element %d is of unknown kind %#x", i, e.flags)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// entry is an element of a page: of a branch with page, of a leaf with flags and value.
type entry struct {
	flags      uint32
	page       uint64
	key, value []byte
}

// split takes a page apart.
func split(raw []byte) (flags uint16, all []entry, err error) {
	order := binary.NativeEndian
	flags, count := order.Uint16(raw[8:]), int(order.Uint16(raw[10:]))
	if flags != branchPage && flags != leafPage {
		return 0, nil, fmt.Errorf("unknown kind %#x", flags)
	}
	if pageHeader+count*element > len(raw) || flags == branchPage && count == 0 {
		return 0, nil, fmt.Errorf("%d elements", count)
	}
	for i := range count {
		at := raw[pageHeader+i*element:]
		var e entry
		pos, ksize, vsize := uint64(order.Uint32(at)), uint64(order.Uint32(at[4:])), uint64(0)
		if flags == leafPage {
			e.flags, pos, ksize, vsize = order.Uint32(at), uint64(order.Uint32(at[4:])), uint64(order.Uint32(at[8:])), uint64(order.Uint32(at[12:]))
		} else {
			e.page = order.Uint64(at[8:])
		}
		if pos+ksize+vsize > uint64(len(at)) {
			return 0, nil, fmt.Errorf("element %d lies outside of it", i)
		}
		e.key, e.value = at[pos:pos+ksize], at[pos+ksize:pos+ksize+vsize]
		all = append(all, e)
	}
	return flags, all, nil
}

func (v *verifier) bucket(value []byte) error {
	if len(value) < bucketValue {
		return errors.New("a bucket is cut off")
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return v.page(root, nil, nil)
	}
	if len(value) < bucketValue+pageHeader {
		return errors.New("a small bucket is cut off")
	}
	return v.elements(value[bucketValue:], nil, nil)
}
