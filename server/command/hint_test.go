package command

import (
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestHint(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]Command{
		"plan":                             {Name: NamePlan},
		"apply -d .":                       {Name: NameApply, Dir: "."},
		"plan -d dns -w prod":              {Name: NamePlan, Dir: "dns", Workspace: "prod"},
		"plan -w prod":                     {Name: NamePlan, Workspace: "prod"},
		"plan -p team/api":                 {Name: NamePlan, Project: "team/api"},
		`plan -d "with space"`:             {Name: NamePlan, Dir: "with space"},
		`plan -d 'a"b'\''c'`:               {Name: NamePlan, Dir: `a"b'c`},
		"apply -p a --auto-merge-disabled": {Name: NameApply, Project: "a", NoMerge: true},
		"apply --auto-merge-method squash": {Name: NameApply, MergeMethod: "squash"},
		"plan -d=-x":                       {Name: NamePlan, Dir: "-x"},
		`plan -d="-x y"`:                   {Name: NamePlan, Dir: "-x y"},
		"plan -d \"\u200bx\"":              {Name: NamePlan, Dir: "\u200bx"},
		"plan -d \"\u2014d\" -w x":         {Name: NamePlan, Dir: "\u2014d", Workspace: "x"},
	} {
		if got := Hint(c); got != want {
			t.Errorf("Hint(%+v) = %s, want %s", c, got, want)
		}
	}
}

// Whatever a repository's directories are called: what we tell people to type is what we understand.
func TestParseReadsHints(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	alphabet := []rune("ab/.-_#'\"\\`$= \u00a0\u200b—é日&|;<>(){}!~@%+:,")
	word := func() string {
		out := make([]rune, 1+rnd.IntN(8))
		for i := range out {
			out[i] = alphabet[rnd.IntN(len(alphabet))]
		}
		return string(out)
	}
	for range 20_000 {
		c := Command{Name: NamePlan}
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
		hint := Hint(c)
		for _, before := range []string{"", "tidegate ", "/", "@tidebot "} {
			got, err := Parse(before+hint, ours)
			if err != nil || got == nil {
				t.Fatalf("Parse(Hint(%+v) = %s) = %v, %v", c, before+hint, got, err)
			}
			if diff := cmp.Diff(c, *got, cmpopts.IgnoreFields(Command{}, "Line")); diff != "" {
				t.Fatalf("Parse(Hint(%+v) = %s) (-want +got):\n%s", c, before+hint, diff)
			}
		}
	}
}
