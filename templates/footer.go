package templates

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"
)

func (f Footer) lines(hint string) string {
	var b strings.Builder
	if hint != "" {
		b.WriteString(hint + "\n\n")
	}
	var parts []string
	if f.HeadSHA != "" {
		s := "Commit " + link("`"+shortSHA(f.HeadSHA)+"`", f.HeadURL)
		if f.BaseSHA != "" {
			s += " merged into " + Code(f.BaseRef) + " at " + link("`"+shortSHA(f.BaseSHA)+"`", f.BaseURL)
		}
		parts = append(parts, s)
	}
	if f.Tool != "" {
		parts = append(parts, Code(f.Tool))
	}
	if f.Took > 0 {
		parts = append(parts, took(f.Took))
	}
	if f.Ran && f.LogURL != "" {
		parts = append(parts, link("full log", f.LogURL))
	}
	if len(parts) > 0 {
		b.WriteString("<sub>" + strings.Join(parts, " · ") + "</sub>\n\n")
	}
	return b.String() + f.Marker + "\n"
}

func shortSHA(s string) string {
	s = clean(s, false)
	if len(s) > 7 {
		return s[:7]
	}
	return s
}

func took(d time.Duration) string {
	s := int(d.Round(time.Second).Seconds())
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", max(1, s))
	case s < 3600:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	default:
		return fmt.Sprintf("%d h %d min", s/3600, s/60%60)
	}
}

var linkForm = sync.OnceValue(func() *regexp.Regexp { //nolint:gochecknoglobals // compiled when it is used first: a supervisor never uses it
	return regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
})

// Summary is a comment's first line without its markup.
func Summary(comment string) string {
	line, _, _ := strings.Cut(comment, "\n")
	line = linkForm().ReplaceAllString(strings.TrimLeft(line, "# "), "$1")
	return strings.TrimSpace(strings.ReplaceAll(line, "`", ""))
}
