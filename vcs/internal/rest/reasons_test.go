package rest_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidegate/tidegate/vcs/internal/rest"
)

func TestQuote(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"main": "`main`", "a`b\n c": "`a'b c`", "": "``", "a\xffb": "`a\uFFFDb`",
		strings.Repeat("a", 200):       "`" + strings.Repeat("a", 200) + "`",
		strings.Repeat("a", 201):       "`" + strings.Repeat("a", 197) + "…`",
		"a" + strings.Repeat("漢", 100): "`a" + strings.Repeat("漢", 65) + "…`",
	} {
		if got := rest.Quote(in); got != want {
			t.Errorf("Quote(%q) = %s, want %s", in, got, want)
		}
	}
}

// TestBlocked: whatever the names are and however many there are, people get little to read, and quotes that end.
func TestBlocked(t *testing.T) {
	t.Parallel()
	const said = " is required, and whether it is successful the account may not see (permission Checks: read)"
	for name, context := range map[string]string{
		"long":      strings.Repeat("c", 255),
		"wide":      strings.Repeat("🌊", 255),
		"backticks": strings.Repeat("`", 255),
		"few":       strings.Repeat("a`b", 85),
		"bytes":     strings.Repeat("\xf0\x9f", 128),
		"halves":    strings.Repeat("\x9f", 255),
		"spaces":    strings.Repeat("\n ", 128) + "x",
	} {
		for kind, one := range map[string]string{
			"a name": rest.Quote(context) + said, "two names": rest.Quote(context) + said + rest.Quote(context), "no end": strings.Repeat(rest.Quote("漢`x"), 200),
			"as it is": strings.ReplaceAll(context, "`", "''"),
		} {
			can := rest.Blocked(slices.Repeat([]string{one}, 300)...)
			if len(can.Why) != 11 || can.Why[10] != "and 290 more" {
				t.Errorf("%s, %s: %d reasons, the last is %q", name, kind, len(can.Why), can.Why[len(can.Why)-1])
			}
			for _, why := range can.Why {
				if len(why) > 300 || !utf8.ValidString(why) || strings.Count(why, "`")%2 != 0 {
					t.Errorf("%s, %s: %q has %d bytes and %d backticks", name, kind, why, len(why), strings.Count(why, "`"))
				}
			}
			if kind == "a name" && !strings.HasSuffix(can.Why[0], said) {
				t.Errorf("%s: %q does not say what is with it", name, can.Why[0])
			}
			if text := strings.Join(can.Why, "; "); len(text) > 4<<10 {
				t.Errorf("%s, %s: the text has %d bytes", name, kind, len(text))
			}
		}
	}
	if got := rest.Blocked(slices.Repeat([]string{"x"}, 10)...); len(got.Why) != 10 {
		t.Errorf("of ten reasons %d are told", len(got.Why))
	}
}
