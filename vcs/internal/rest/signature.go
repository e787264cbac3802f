package rest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"github.com/tidegate/tidegate/vcs"
)

// VerifyHMAC checks the header name, which holds prefix and the HMAC-SHA256 of the body in hex, in constant
// time. Any of the secrets will do; an empty one verifies nothing, as anybody can sign with it. The error wraps
// vcs.ErrSignature.
func VerifyHMAC(h http.Header, name, prefix string, body []byte, secrets [][]byte) error {
	values := h.Values(name)
	switch {
	case len(values) == 0:
		return fmt.Errorf("%s is not there: %w", name, vcs.ErrSignature)
	case len(values) > 1:
		return fmt.Errorf("%s is there more than once: %w", name, vcs.ErrSignature)
	}
	digits, ok := strings.CutPrefix(values[0], prefix)
	got, err := hex.DecodeString(digits)
	if !ok || err != nil || len(got) != sha256.Size {
		return fmt.Errorf("%s is not of the form %s<64 hexadecimal digits>: %w", name, prefix, vcs.ErrSignature)
	}
	good := false
	for _, secret := range secrets {
		if len(secret) == 0 {
			continue
		}
		mac := hmac.New(sha256.New, secret)
		_, _ = mac.Write(body)
		good = hmac.Equal(mac.Sum(nil), got) || good
	}
	if !good {
		return fmt.Errorf("%s is wrong: %w", name, vcs.ErrSignature)
	}
	return nil
}
