package supervisor

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// EnvDir names the step directory in the environment of stage one. A program with it in its
// environment has to call Main before anything else.
const EnvDir = "TIDEGATE_SUPERVISE"

// envStage tells stages two and three apart.
const (
	envStage     = "TIDEGATE_SUPERVISE_STAGE"
	stageTwoName = "two"
	stageSandbox = "sandbox"
)

// twoArgv0 is what a process list shows stage two as; the step directory follows it.
const twoArgv0 = "tidegate-supervise"

// exitTrouble is stage one's answer when there is no code of the process to pass on.
const exitTrouble = 125

// Main carries out one stage. args are those of the process, the program's name included. It answers
// the exit code: that of the process; 128+n when signal n ended it; 130 when it was interrupted
// before it was executed; 125 when it could not be supervised.
func Main(args []string) int {
	dir := os.Getenv(EnvDir)
	if !filepath.IsAbs(dir) || len(args) == 0 {
		return complain(os.Stderr, exitTrouble, fmt.Errorf("%s is not an absolute path", EnvDir))
	}
	switch os.Getenv(envStage) {
	case "":
		return stageOne(dir, args[1:], os.Stdout, os.Stderr)
	case stageTwoName:
		return stageTwo(dir, args)
	case stageSandbox:
		return sandboxStage(dir, args[1:])
	default:
		return complain(os.Stderr, exitTrouble, fmt.Errorf("%s has no known value", envStage))
	}
}

func complain(w io.Writer, code int, err error) int {
	_, _ = fmt.Fprintln(w, "tidegate supervise:", err)
	return code
}

// stageEnv is the whole environment of stages two and three: they need nothing else.
func stageEnv(dir, stage string) []string {
	return []string{EnvDir + "=" + dir, envStage + "=" + stage}
}

// Supervisor is a second stage that lives.
type Supervisor struct {
	PID int
	// Dir is its step directory, for Interrupt.
	Dir string
}
