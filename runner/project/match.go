package project

import (
	"path"
	"strings"

	"github.com/moby/patternmatcher"
)

// defaultWhenModified touches a project whose configuration says nothing else.
func defaultWhenModified() []string {
	return []string{"**/*.tf*", "**/*.tofu", "**/*.tofu.json", "**/terragrunt.hcl", "**/.terraform.lock.hcl"}
}

// matchers makes matchers and shares what is compiled among them. It is not safe for concurrent use.
type matchers struct {
	compiled map[string]*patternmatcher.PatternMatcher
}

func newMatchers() *matchers {
	return &matchers{compiled: map[string]*patternmatcher.PatternMatcher{}}
}

func (m *matchers) compile(pattern string) (*patternmatcher.PatternMatcher, bool) {
	if pm, ok := m.compiled[pattern]; ok {
		return pm, pm != nil
	}
	pm, err := patternmatcher.New([]string{pattern})
	if err == nil {
		_, err = pm.MatchesOrParentMatches("a")
	}
	if err != nil {
		pm = nil
	}
	m.compiled[pattern] = pm
	return pm, pm != nil
}

// matcher answers which files touch one project.
type matcher struct {
	below    string // "" for the root, else "dir/"
	patterns []pattern
}

// pattern is one of when_modified. It is matched against the path below the project's directory, where
// that is possible, because then projects share it.
type pattern struct {
	pm      *patternmatcher.PatternMatcher // nil matches everything below
	exclude bool
	below   bool
	prefix  string // what every match begins with, for patterns that lead out of the directory
}

func (m *matchers) of(p Project) matcher {
	out := matcher{below: p.Dir + "/"}
	if p.Dir == "." {
		out.below = ""
	}
	patterns := p.WhenModified
	if patterns == nil {
		patterns = defaultWhenModified()
	}
	for _, s := range patterns {
		if one, ok := m.pattern(p.Dir, strings.TrimSpace(s)); ok {
			out.patterns = append(out.patterns, one)
		}
	}
	return out
}

func (m *matchers) pattern(dir, s string) (one pattern, ok bool) {
	s, one.exclude = strings.CutPrefix(s, "!")
	s = strings.TrimPrefix(path.Clean("./"+s), "/")
	if one.below = s != ".." && !strings.HasPrefix(s, "../"); !one.below {
		s = path.Join(escape(dir), s)
		one.prefix = s[:len(s)-len(strings.TrimLeftFunc(s, isLiteral))]
		if one.prefix != s {
			one.prefix = one.prefix[:strings.LastIndexByte(one.prefix, '/')+1]
		}
	}
	if s == "." {
		one.below, one.prefix = one.below || dir == ".", ""
		return one, true
	}
	one.pm, ok = m.compile(guard(s))
	return one, ok
}

func isLiteral(r rune) bool { return !strings.ContainsRune(`*?[\`, r) }

// escape takes the meaning of pattern characters away.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}

// guard keeps a pattern's first character from being taken for an exclusion.
func guard(s string) string {
	if strings.HasPrefix(s, "!") || strings.HasPrefix(s, " ") {
		return `\` + s
	}
	return s
}

// match reports whether a file touches the project: the last pattern that matches it, or a directory it
// is in, decides.
func (m matcher) match(file string) bool {
	rel, below := strings.CutPrefix(file, m.below)
	matched := false
	for _, p := range m.patterns {
		if p.exclude != matched || p.below && !below || !strings.HasPrefix(file, p.prefix) {
			continue
		}
		name := file
		if p.below {
			name = rel
		}
		hit := p.pm == nil
		if !hit {
			// An error is a bad pattern, and compile has let none through.
			hit, _ = p.pm.MatchesOrParentMatches(name)
		}
		if hit {
			matched = !p.exclude
		}
	}
	return matched
}

// leadsOut reports whether a file outside of the project's directory can match.
func (m matcher) leadsOut() bool {
	for _, p := range m.patterns {
		if !p.below && !p.exclude {
			return true
		}
	}
	return false
}
