// Package runner executes one Job in one directory and returns a Result. It knows no forge, no lock
// and no comment.
package runner
