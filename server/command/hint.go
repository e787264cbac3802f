package command

import "strings"

// Hint writes a command so that [Parse] reads it back, whatever wakes us. Its fields have to be what
// Parse allows.
func Hint(c Command) string {
	s := string(c.Name)
	if flags := Flags(c.Dir, c.Workspace, c.Project); flags != "" {
		s += " " + flags
	}
	if c.NoMerge {
		s += " " + noMerge
	}
	if c.MergeMethod != "" {
		s += " " + write(mergeMethod, c.MergeMethod)
	}
	return s
}

// Flags writes the flags that name a target: "-d dns -w prod". A name makes directory and workspace
// superfluous; what is "" is left out. A directory alone stands for all of its workspaces, so give the
// workspace where it has several, the default one included.
func Flags(dir, workspace, project string) string {
	if project != "" {
		return write("-p", project)
	}
	var out []string
	if dir != "" {
		out = append(out, write("-d", dir))
	}
	if workspace != "" {
		out = append(out, write("-w", workspace))
	}
	return strings.Join(out, " ")
}

func write(name, value string) string {
	if strings.HasPrefix(value, "-") {
		return name + "=" + Quote(value)
	}
	return name + " " + Quote(value)
}

// Quote writes a word so that it is read as one word: as it is if nothing in it is special, in quotes
// otherwise.
func Quote(s string) string {
	switch {
	case s != "" && !strings.ContainsFunc(s, isSpecial):
		return s
	case !strings.ContainsAny(s, `"\`):
		return `"` + s + `"`
	default:
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
}

func isSpecial(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	default:
		return !strings.ContainsRune("_./@%+=:,-", r)
	}
}
