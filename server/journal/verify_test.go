package journal

import (
	"bytes"
	"os"
	"testing"
)

// FuzzVerify: whatever a file holds, looking through it ends with an answer.
func FuzzVerify(f *testing.F) {
	good, err := os.ReadFile("testdata/format1/tidegate.db")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, uint16(0), uint16(0))
	f.Add(good, uint16(0x2008), uint16(3))
	f.Add(good[:8192], uint16(4096), uint16(1))
	f.Add([]byte{}, uint16(0), uint16(0))
	f.Fuzz(func(t *testing.T, file []byte, at, flip uint16) {
		file = bytes.Clone(file)
		if int(at)+1 < len(file) {
			file[at] ^= byte(flip)
			file[at+1] ^= byte(flip >> 8)
		}
		err := verify(bytes.NewReader(file), 4096)
		if err == nil && len(file) < 2*4096 {
			t.Errorf("a file of %d bytes is good", len(file))
		}
	})
}

func TestVerifyTakesAGoodFile(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile("testdata/format1/tidegate.db")
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(bytes.NewReader(good), 4096); err != nil {
		t.Errorf("verify() of the recorded file = %v", err)
	}
}
