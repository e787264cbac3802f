package rest_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

func sign(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}

func TestVerifyHMAC(t *testing.T) {
	t.Parallel()
	const body = `{"a":1}`
	good := sign("secret", body)
	for _, tt := range []struct {
		name, prefix string
		secrets      []string
		values       []string
		want         bool
	}{
		{"bare", "", []string{"secret"}, []string{good}, true},
		{"in capitals", "", []string{"secret"}, []string{strings.ToUpper(good)}, true},
		{"with a prefix", "sha256=", []string{"secret"}, []string{"sha256=" + good}, true},
		{"the second secret", "", []string{"new", "secret"}, []string{good}, true},
		{"the first of two", "", []string{"secret", "new"}, []string{good}, true},
		{"an empty secret beside a good one", "", []string{"", "secret"}, []string{good}, true},
		{"missing", "", []string{"secret"}, nil, false},
		{"empty", "", []string{"secret"}, []string{""}, false},
		{"twice", "", []string{"secret"}, []string{good, good}, false},
		{"without the prefix", "sha256=", []string{"secret"}, []string{good}, false},
		{"with a prefix that is not wanted", "", []string{"secret"}, []string{"sha256=" + good}, false},
		{"another secret", "", []string{"other"}, []string{good}, false},
		{"another body's", "", []string{"secret"}, []string{sign("secret", body+" ")}, false},
		{"cut", "", []string{"secret"}, []string{good[:62]}, false},
		{"longer", "", []string{"secret"}, []string{good + "00"}, false},
		{"not hex", "", []string{"secret"}, []string{strings.Repeat("z", 64)}, false},
		{"no secret", "", nil, []string{sign("", body)}, false},
		{"an empty secret", "", []string{""}, []string{sign("", body)}, false},
	} {
		h := http.Header{"X-Signature": tt.values}
		var secrets [][]byte
		for _, s := range tt.secrets {
			secrets = append(secrets, []byte(s))
		}
		err := rest.VerifyHMAC(h, "X-Signature", tt.prefix, []byte(body), secrets)
		if tt.want && err != nil || !tt.want && !errors.Is(err, vcs.ErrSignature) {
			t.Errorf("VerifyHMAC(%s) error = %v, want verified = %v", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), good[10:]) {
			t.Errorf("VerifyHMAC(%s) error = %v tells the signature", tt.name, err)
		}
	}
}
