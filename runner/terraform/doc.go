// Package terraform drives one terraform or tofu command at a time in one directory: it finds or
// installs the binary (Finder), decides whether init is needed, starts the command beside our
// supervisor so that it outlives the server, and reads facts from plan files and -json logs.
//
// It does not know what a job, a run or a pull request is; runner puts these commands together.
// Start at Finder and Command.
package terraform
