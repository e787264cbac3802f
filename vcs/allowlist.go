package vcs

import (
	"errors"
	"fmt"
	"strings"
)

// Allowlist says which repositories are served: a comma-separated list of host/owner/name, in which
// * stands for anything (slashes too) and a rule after ! excludes. Case does not matter. A
// repository is served when a rule includes it and none excludes it.
type Allowlist struct {
	include, exclude []string
}

// ParseAllowlist reads a list. All problems are told at once.
func ParseAllowlist(list string) (Allowlist, error) {
	var a Allowlist
	var problems []error
	for _, rule := range strings.Split(list, ",") {
		rule = strings.ToLower(strings.TrimSpace(rule))
		if rule == "" {
			continue
		}
		to := &a.include
		if rest, no := strings.CutPrefix(rule, "!"); no {
			rule, to = rest, &a.exclude
		}
		switch {
		case strings.Contains(rule, "://"):
			problems = append(problems, fmt.Errorf("%q: write the host without a scheme, such as github.com/acme/*", rule))
		case !strings.Contains(rule, "/") && rule != "*":
			problems = append(problems, fmt.Errorf("%q: write host/owner/name, such as github.com/acme/infra or github.com/acme/*", rule))
		default:
			*to = append(*to, rule)
		}
	}
	if len(a.include) == 0 && len(problems) == 0 {
		problems = append(problems, errors.New("no repository is included: write host/owner/name, such as github.com/acme/*"))
	}
	return a, errors.Join(problems...)
}

// Allows reports whether the repository is served.
func (a Allowlist) Allows(r Repo) bool {
	name := strings.ToLower(r.ID.Forge + "/" + r.FullName())
	return matchesAny(a.include, name) && !matchesAny(a.exclude, name)
}

// Reaches reports whether some repository of a forge instance can be served: a list without the
// host, such as acme/*, serves none.
func (a Allowlist) Reaches(instance string) bool {
	host := strings.ToLower(instance) + "/"
	for _, rule := range a.include {
		fixed, _, open := strings.Cut(rule, "*")
		if strings.HasPrefix(fixed, host) || open && strings.HasPrefix(host, fixed) {
			return true
		}
	}
	return false
}

// Names lists the repositories of a forge instance that are included by their whole names. They have no
// ID but the forge's.
func (a Allowlist) Names(instance string) []Repo {
	var out []Repo
	for _, rule := range a.include {
		full, ok := strings.CutPrefix(rule, strings.ToLower(instance)+"/")
		last := strings.LastIndex(full, "/") // what stands before it are GitLab's groups
		if !ok || last < 1 || strings.Contains(full, "*") {
			continue
		}
		r := Repo{ID: RepoID{Forge: instance}, Owner: full[:last], Name: full[last+1:]}
		if r.Name != "" && a.Allows(r) {
			out = append(out, r)
		}
	}
	return out
}

func matchesAny(rules []string, name string) bool {
	for _, rule := range rules {
		if matches(rule, name) {
			return true
		}
	}
	return false
}

// matches is a glob in which * stands for anything.
func matches(rule, name string) bool {
	parts := strings.Split(rule, "*")
	if len(parts) == 1 {
		return rule == name
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name = name[i+len(part):]
	}
	return true
}
