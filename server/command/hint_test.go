package command_test

import (
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidegate/tidegate/server/command"
)

func TestHint(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]command.Command{
		"plan":                     {Name: command.NamePlan},
		"apply -d .":               {Name: command.NameApply, Dir: "."},
		"plan -d dns -w prod":      {Name: command.NamePlan, Dir: "dns", Workspace: "prod"},
		"plan -w prod":             {Name: command.NamePlan, Workspace: "prod"},
		"plan -p team/api":         {Name: command.NamePlan, Project: "team/api"},
		`plan -d "with space"`:     {Name: command.NamePlan, Dir: "with space"},
		`plan -d 'a"b'\''c'`:       {Name: command.NamePlan, Dir: `a"b'c`},
		"plan -d=-x":               {Name: command.NamePlan, Dir: "-x"},
		`plan -d="-x y"`:           {Name: command.NamePlan, Dir: "-x y"},
		"plan -d \"\u200bx\"":      {Name: command.NamePlan, Dir: "\u200bx"},
		"plan -d \"\u2014d\" -w x": {Name: command.NamePlan, Dir: "\u2014d", Workspace: "x"},
	} {
		if got := command.Hint(c); got != want {
			t.Errorf("Hint(%+v) = %s, want %s", c, got, want)
		}
	}
}

// Whatever a repository's directories are called: what we tell people to type is what we understand.
func TestParseReadsHints(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same words in every run
	alphabet := []rune("ab/.-_#'\"\\`$= \u00a0\u200b—é日&|;<>(){}!~@%+:,")
	word := func() string {
		out := make([]rune, 1+rnd.IntN(8))
		for i := range out {
			out[i] = alphabet[rnd.IntN(len(alphabet))]
		}
		return string(out)
	}
	for range 20_000 {
		c := command.Command{Name: command.NamePlan}
		switch rnd.IntN(3) {
		case 0:
			c.Project = word()
		case 1:
			c.Workspace = "w" + strings.Map(func(r rune) rune {
				if strings.ContainsRune("/\\.$ \u00a0", r) {
					return 'x'
				}
				return r
			}, word())
			fallthrough
		default:
			c.Dir = path.Clean(strings.TrimLeft(word(), "/"))
			if c.Dir == ".." || strings.HasPrefix(c.Dir, "../") {
				c.Dir = "."
			}
		}
		hint := command.Hint(c)
		for _, before := range []string{"", "tidegate ", "/", "@tidebot "} {
			got, err := command.Parse(before+hint, ours)
			if err != nil || got == nil {
				t.Fatalf("Parse(Hint(%+v) = %s) = %v, %v", c, before+hint, got, err)
			}
			if diff := cmp.Diff(c, *got, cmpopts.IgnoreFields(command.Command{}, "Line")); diff != "" {
				t.Fatalf("Parse(Hint(%+v) = %s) (-want +got):\n%s", c, before+hint, diff)
			}
		}
	}
}
