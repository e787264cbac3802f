package devforge_test

import (
	"crypto/rand"
	"crypto/rsa"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	jwt "github.com/golang-jwt/jwt/v4"

	"github.com/tidegate/tidegate/vcs/devforge"
)

// TestAppSignatures: what GitHub does not take of an App is not taken here.
func TestAppSignatures(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	f, err := devforge.New(devforge.Config{Dir: t.TempDir(), URL: "http://127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	id, err := f.CreateApp("tidegate", &key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	h, now := f.Handler(), time.Now()
	in := func(d time.Duration) int64 { return now.Add(d).Unix() }
	rs, iss := jwt.SigningMethodRS256, strconv.FormatInt(id, 10)
	for _, tt := range []struct {
		name   string
		how    jwt.SigningMethod
		key    any
		claims jwt.MapClaims
		status int
		text   string
	}{
		{"right", rs, key, jwt.MapClaims{"iss": iss, "iat": in(-time.Minute), "exp": in(9 * time.Minute)}, 200, `"slug":"tidegate"`},
		{"an id that is a number", rs, key, jwt.MapClaims{"iss": id, "iat": in(-time.Minute), "exp": in(time.Minute)}, 200, `"slug":"tidegate"`},
		{"of the future", rs, key, jwt.MapClaims{"iss": iss, "iat": in(time.Minute), "exp": in(2 * time.Minute)}, 401, "'Issued at'"},
		{"too long", rs, key, jwt.MapClaims{"iss": iss, "iat": in(-time.Minute), "exp": in(11 * time.Minute)}, 401, "too far in the future"},
		{"ended", rs, key, jwt.MapClaims{"iss": iss, "iat": in(-time.Hour), "exp": in(-time.Minute)}, 401, "'Expiration time'"},
		{"without an end", rs, key, jwt.MapClaims{"iss": iss, "iat": in(-time.Hour)}, 401, "'Expiration time'"},
		{"a part of a second", rs, key, jwt.MapClaims{"iss": iss, "iat": 1.5, "exp": in(time.Minute)}, 401, "'Issued at'"},
		{"another App", rs, key, jwt.MapClaims{"iss": "999", "iat": in(-time.Minute), "exp": in(time.Minute)}, 404, "Integration not found"},
		{"another key", rs, other, jwt.MapClaims{"iss": iss, "iat": in(-time.Minute), "exp": in(time.Minute)}, 401, "could not be decoded"},
		{"another algorithm", jwt.SigningMethodRS512, key, jwt.MapClaims{"iss": iss, "iat": in(-time.Minute), "exp": in(time.Minute)}, 401, "could not be decoded"},
		{"unsigned", jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, jwt.MapClaims{"iss": iss, "iat": in(-time.Minute), "exp": in(time.Minute)}, 401, "could not be decoded"},
	} {
		token, err := jwt.NewWithClaims(tt.how, tt.claims).SignedString(tt.key)
		if err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v3/app", nil)
		req.Header.Set("Authorization", "Bearer "+token)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		said, _ := io.ReadAll(rec.Body)
		if rec.Code != tt.status || !strings.Contains(string(said), tt.text) {
			t.Errorf("%s is answered %d %s, want %d with %q", tt.name, rec.Code, said, tt.status, tt.text)
		}
	}
}
