// Command stubterraform plays back what a real terraform said and wrote once, from files beside its own: for
// measuring the server, and nothing else, with many pull requests.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	code, err := run(os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// run answers the exit code.
func run(args []string, out io.Writer) (int, error) {
	self, err := os.Executable()
	if err != nil || len(args) == 0 {
		return 1, err
	}
	recorded := filepath.Dir(self)
	if args[0] == "version" {
		_, err := io.WriteString(out, `{"terraform_version":"1.11.4","platform":"linux_amd64"}`)
		return 0, err
	}
	said, err := os.ReadFile(filepath.Join(recorded, args[0]+".txt")) //nolint:gosec // the files beside it are its own
	if err != nil {
		return 1, err
	}
	if _, err := out.Write(said); err != nil || args[0] != "plan" {
		return 0, err
	}
	for _, arg := range args {
		to, ok := strings.CutPrefix(arg, "-out=")
		if !ok {
			continue
		}
		plan, err := os.ReadFile(filepath.Join(recorded, "plan.file")) //nolint:gosec // the files beside it are its own
		if err != nil {
			return 1, err
		}
		return 2, os.WriteFile(to, plan, 0o600) // 2 is "there are changes"
	}
	return 1, fmt.Errorf("plan without -out: %q", args)
}
