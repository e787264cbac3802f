package main

import (
	"slices"
	"strings"

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
	known := map[string]bool{supervisor.EnvDir: true}
	for _, o := range table {
		known[env(o.name)] = true
		if o.secret {
			known[env(o.name+"-file")] = true
		}
	}
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
