package e2e

import (
	"fmt"
	"regexp"
	"strings"
)

// plain is a comment without what is another one each time, and without what nobody sees.
func (w *world) plain(text string) string {
	text = regexp.MustCompile(`\n*<!-- tidegate:[^\n]*-->`).ReplaceAllString(text, "")
	text = strings.NewReplacer(w.dev.http.URL, "https://forge.example", w.server.url, "https://tidegate.example", w.dir, "/srv").Replace(text)
	shas := map[string]string{}
	for _, sha := range regexp.MustCompile(`\b[0-9a-f]{40}\b`).FindAllString(text, -1) {
		if shas[sha] == "" {
			shas[sha] = strings.Repeat(fmt.Sprintf("%x", 10+len(shas)%6), 40)
		}
	}
	for sha, short := range shas {
		text = strings.NewReplacer(sha, short, sha[:7], short[:7]).Replace(text)
	}
	text = regexp.MustCompile(`\b01[0-9A-HJKMNP-TV-Z]{24}\b`).ReplaceAllString(text, "01K90000000000000000000000")
	text = regexp.MustCompile(`\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`).ReplaceAllString(text, "00000000-1111-2222-3333-444444444444")
	text = regexp.MustCompile(`\b\d\d:\d\d(:\d\d)? UTC`).ReplaceAllString(text, "09:12 UTC")
	text = regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`).ReplaceAllString(text, "2026-11-24T09:12:20Z")
	return regexp.MustCompile(` by \S+@\S+ since `).ReplaceAllString(strings.TrimSpace(text), " by tidegate@host since ")
}

// timeless is the document without what takes another time each time, or another terraform.
func timeless(text string) string {
	text = regexp.MustCompile(`(?m)^.*Still creating.*\n`).ReplaceAllString(text, "")
	text = regexp.MustCompile(`terraform \d+\.\d+\.\d+`).ReplaceAllString(text, "terraform")
	return regexp.MustCompile(`\b\d+ ?(s|min)\b( \d+ s)?`).ReplaceAllString(text, "some time")
}
