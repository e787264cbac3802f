package main

import (
	"slices"
	"strings"

	"github.com/tidegate/tidegate/cmd/tidegate/internal/pid1"
	"github.com/tidegate/tidegate/runner/supervisor"
)

// prefix begins the names of our environment variables.
const prefix = "TIDEGATE_"

// env is the environment variable of a flag.
func env(name string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// serviceLink reports whether a variable is one that Kubernetes gives every container beside a
// service of the name tidegate; TIDEGATE_PORT, "tcp://10.0.0.1:4141", is among them.
// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
func serviceLink(name, value string) bool {
	switch {
	case strings.HasPrefix(name, prefix+"SERVICE_"), strings.HasPrefix(name, prefix+"PORT_"):
		return true
	case name == prefix+"PORT":
		return strings.Contains(value, "://")
	default:
		return false
	}
}

// withoutLinks looks variables up as lookup does, except for those that are no settings.
func withoutLinks(lookup func(string) (string, bool)) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := lookup(name)
		if ok && serviceLink(name, v) {
			return "", false
		}
		return v, ok
	}
}

// unknownEnv lists the variables that look like settings and are none: the flag that was meant has
// its default.
func unknownEnv(environ []string, table []option) []string {
	known := knownEnv(table)
	known[supervisor.EnvDir], known[pid1.EnvGrace] = true, true
	var out []string
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, prefix) && !known[name] && !serviceLink(name, value) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// atlantisEnv lists the variables of Atlantis that have another name here, with that name. They are
// not read: a Tidegate that is tried beside an Atlantis must not work on its data directory.
func atlantisEnv(environ []string, table []option) []string {
	const theirs = "ATLANTIS_"
	known := knownEnv(table)
	var out []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if rest, ok := strings.CutPrefix(name, theirs); ok && known[prefix+rest] {
			out = append(out, name+" is set, but not read: it is "+prefix+rest+" here")
		}
	}
	slices.Sort(out)
	return out
}

// knownEnv are the variables that are settings.
func knownEnv(table []option) map[string]bool {
	known := map[string]bool{}
	for _, o := range table {
		known[env(o.name)] = true
		if o.secret {
			known[env(o.name+"-file")] = true
		}
	}
	return known
}
