package terraform

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// parsePath renders one planproto Path as people write it: `network[0].name`.
func parsePath(data []byte) (string, error) {
	var b strings.Builder
	err := eachField(data, func(num int, f field) error {
		if num != 1 {
			return nil
		}
		return eachField(f.bytes, func(num int, f field) error {
			switch num {
			case 1:
				if b.Len() > 0 {
					b.WriteByte('.')
				}
				b.Write(f.bytes)
			case 2:
				return eachField(f.bytes, func(num int, f field) error {
					if num == 1 {
						b.WriteString("[" + elementKey(f.bytes) + "]")
					}
					return nil
				})
			}
			return nil
		})
	})
	return b.String(), err
}

// elementKey renders the msgpack form of an index: a string or a small number, or, with its type
// beside it, an array of the two. Everything else (an element of a set) is "...".
func elementKey(data []byte) string {
	if len(data) > 0 && data[0] == 0x92 {
		_, n := msgpackString(data[1:])
		if n == 0 {
			return "..."
		}
		data = data[1+n:]
	}
	if s, n := msgpackString(data); n > 0 {
		return strconv.Quote(s)
	}
	if v, ok := msgpackInt(data); ok {
		return strconv.FormatUint(v, 10)
	}
	return "..."
}

// msgpackString reads a string or a byte string and says how many bytes it took, 0 for none.
func msgpackString(data []byte) (string, int) {
	if len(data) == 0 {
		return "", 0
	}
	head, size := 1, 0
	switch c := data[0]; {
	case c&0xe0 == 0xa0:
		size = int(c & 0x1f)
	case (c == 0xd9 || c == 0xc4) && len(data) >= 2:
		head, size = 2, int(data[1])
	case (c == 0xda || c == 0xc5) && len(data) >= 3:
		head, size = 3, int(binary.BigEndian.Uint16(data[1:]))
	default:
		return "", 0
	}
	if len(data) < head+size {
		return "", 0
	}
	return string(data[head : head+size]), head + size
}

func msgpackInt(data []byte) (uint64, bool) {
	switch {
	case len(data) == 1 && data[0] < 0x80:
		return uint64(data[0]), true
	case len(data) == 2 && data[0] == 0xcc:
		return uint64(data[1]), true
	case len(data) == 3 && data[0] == 0xcd:
		return uint64(binary.BigEndian.Uint16(data[1:])), true
	case len(data) == 5 && data[0] == 0xce:
		return uint64(binary.BigEndian.Uint32(data[1:])), true
	}
	return 0, false
}
