package command

import (
	"path"
	"strings"
	"unicode"
)

// cleanDir makes a directory relative to the repository's root, or says what is wrong with it.
func cleanDir(s string) (dir, why string) {
	switch {
	case s == "":
		return "", "is empty"
	case strings.ContainsFunc(s, isUnprintable):
		return "", "has control characters"
	case strings.ContainsAny(s, "*?["):
		return "", "is a pattern"
	}
	dir = path.Clean(strings.TrimLeft(s, "/"))
	if dir == ".." || strings.HasPrefix(dir, "../") {
		return "", "leaves the repository"
	}
	return dir, ""
}

// badWorkspace says what is wrong with a workspace's name, by the rule of Atlantis, which keeps names
// that are paths, options or variables to somebody away.
func badWorkspace(s string) string {
	switch {
	case s == "":
		return "is empty"
	case strings.ContainsFunc(s, isUnprintable):
		return "has control characters"
	case strings.ContainsFunc(s, unicode.IsSpace):
		return "has spaces"
	case strings.ContainsAny(s, `/\$`), strings.Contains(s, ".."), s == ".", s[0] == '-', s[0] == '~':
		return "is not a workspace name"
	default:
		return ""
	}
}

func badProject(s string) string {
	switch {
	case s == "":
		return "is empty"
	case strings.ContainsFunc(s, isUnprintable):
		return "has control characters"
	default:
		return ""
	}
}

// isUnprintable reports control characters, line breaks, and the characters that turn text around and so
// make a name look like another one.
func isUnprintable(r rune) bool {
	return unicode.IsControl(r) || isLineBreak(r) || unicode.Is(unicode.Bidi_Control, r)
}

func ruleOf(f flag) string {
	switch f {
	case flagDir:
		return "A directory is written from the repository's root, like -d network or -d envs/prod; -d . is the root. Patterns are not supported yet."
	case flagWorkspace:
		return `A workspace is one word without / \ .. $ and does not begin with - or ~.`
	case flagMethod:
		return "A method is one of " + strings.Join(MergeMethods(), ", ") + "."
	default:
		return "A project is one of the names in the repository's configuration."
	}
}
