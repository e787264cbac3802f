// Package pid1 is the first process of the container: it starts the server, starts it again when it
// crashes, reaps every orphan, and leaves only when no supervised process lives any more.
package pid1

import (
	"fmt"
	"os"
)

// Main runs `tidegate init [flags] -- command...` with what follows `init`, and answers the exit code.
func Main(args []string) int {
	fmt.Fprintln(os.Stderr, "tidegate init: not wired yet")
	return 1
}
