package project

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const closed = `
-- atlantis.yaml --
-- prod/main.tf --
module "net" {
  source = "../modules/net"
}
module "gone" { source = "../modules/gone" }
module "remote" { source = "hashicorp/consul/aws" }
module "out" { source = "../../other/repo" }
-- prod/.terraform.lock.hcl --
-- prod/files/a.tpl --
-- prod/common.tf -> ../shared/common.tf --
-- prod/policies -> ../shared/policies --
-- prod/away -> ../../../etc --
-- shared/common.tf --
-- shared/unused.tf --
-- shared/policies/a.json --
-- shared/policies/more -> ../../deep/policies --
-- deep/policies/b.json --
-- deep/unused --
-- modules/net/main.tf --
module "ring" { source = "./../ring/" }
-- modules/net/sub/x --
-- modules/ring/main.tf.json --
{"module": {"net": {"source": "../net"}}}
-- modules/unused/main.tf --
-- data/watched.json --
-- data/unused.json --
-- dev/main.tf --
-- prodigy/main.tf --
`

func prod() Project {
	return Project{Dir: "prod", Workspace: "default", WhenModified: []string{"**", "../data/w*.json", "../modules/net/*.tf"}}
}

func digest(t *testing.T, tree Tree, p Project, in Inputs) Digested {
	t.Helper()
	d, err := Digest(t.Context(), tree, p, in)
	if err != nil {
		t.Fatalf("Digest(%s) = %v", p, err)
	}
	return d
}

func TestDigestParts(t *testing.T) {
	t.Parallel()
	d := digest(t, newTree(closed), prod(), Inputs{Tool: "terraform 1.11.4"})
	var got []string
	for k, v := range d.Parts {
		if v == absent || v == notWatched {
			k += " " + v
		}
		got = append(got, k)
	}
	slices.Sort(got)
	want := []string{
		"dir deep/policies", "dir modules/gone absent", "dir modules/net", "dir modules/ring", "dir prod", "dir shared/policies",
		"fact server", "fact tool", "fact workflow",
		"file data/watched.json", "file shared/common.tf",
		"outside ../other/repo not watched", "outside prod/away not watched",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(d.Sum, "1:") || len(d.Sum) != 66 {
		t.Errorf("Sum = %q", d.Sum)
	}
}

// The sum of a known tree does not change by accident: plans would be thought stale after an upgrade.
func TestDigestCovers(t *testing.T) {
	t.Parallel()
	d := Digested{Parts: map[string]string{"dir a": "1", "dir b/c": "2", "file shared/x.yaml": "3", "fact tool": "4"}}
	for name, want := range map[string]bool{
		"a/main.tf": true, "a/b/c": true, "ab/x": false, "b/x": false, "b/c/x": true, "shared/x.yaml": true, "shared/y.yaml": false, "x": false, "tool": false,
	} {
		if got := d.Covers(name); got != want {
			t.Errorf("Covers(%q) = %v, want %v", name, got, want)
		}
	}
	if all := (Digested{Parts: map[string]string{"dir .": "1"}}); !all.Covers("a/b") || !all.Covers("x") {
		t.Error("Covers() of the whole repository leaves something out")
	}
}

func TestDigestSumIsFixed(t *testing.T) {
	t.Parallel()
	d := digest(t, newTree("-- a/main.tf --\n"), Project{Dir: "a", Workspace: "default"}, Inputs{Tool: "terraform 1.11.4", ServerConfig: "s", Workflow: "w"})
	const want = "1:97d2d336351ed4d35dafb4c8aa5d90cf29ecd3dd586d4d5b07885dfbd3c51635"
	if d.Sum != want {
		t.Errorf("Sum = %q, want %q: another digestFormat is needed", d.Sum, want)
	}
}

func TestDigestMoves(t *testing.T) {
	t.Parallel()
	tree := newTree(closed)
	in := Inputs{Tool: "terraform 1.11.4", ServerConfig: "a", Workflow: "b"}
	before := digest(t, tree, prod(), in)
	for _, c := range []struct {
		name  string
		tree  Tree
		input Inputs
		want  []string
	}{
		{"nothing", tree, in, nil},
		{"own file", tree.with("prod/main.tf", "x"), in, nil},
		{"own template", tree.with("prod/files/a.tpl", "x"), in, []string{"`prod` changed"}},
		{"lock file", tree.with("prod/.terraform.lock.hcl", "x"), in, []string{"`prod` changed"}},
		{"new file", tree.with("prod/new", ""), in, []string{"`prod` changed"}},
		{"module", tree.with("modules/net/sub/x", "x"), in, []string{"`modules/net` changed"}},
		{"module's module", tree.with("modules/ring/x", ""), in, []string{"`modules/ring` changed"}},
		{"missing module", tree.with("modules/gone/x.tf", ""), in, []string{"`modules/gone` is there now"}},
		{"linked file", tree.with("shared/common.tf", "x"), in, []string{"`shared/common.tf` changed"}},
		{"linked directory", tree.with("shared/policies/a.json", "x"), in, []string{"`shared/policies` changed"}},
		{"link in a linked directory", tree.with("deep/policies/c", ""), in, []string{"`deep/policies` changed"}},
		{"watched file", tree.with("data/watched.json", "x"), in, []string{"`data/watched.json` changed"}},
		{"another watched file", tree.with("data/w2.json", "x"), in, []string{"`data/w2.json` was added"}},
		{"unrelated", tree.with("dev/main.tf", "x").with("prodigy/main.tf", "x").with("shared/unused.tf", "x").with("modules/unused/main.tf", "x").with("data/unused.json", "x").with("deep/unused", "x").with("atlantis.yaml", "x"), in, nil},
		{"tool", tree, Inputs{Tool: "terraform 1.12.0", ServerConfig: "a", Workflow: "b"}, []string{"`terraform 1.11.4` became `terraform 1.12.0`"}},
		{"server", tree, Inputs{Tool: "terraform 1.11.4", ServerConfig: "x", Workflow: "b"}, []string{"the server's settings changed"}},
		{"workflow", tree, Inputs{Tool: "terraform 1.11.4", ServerConfig: "a", Workflow: "x"}, []string{"the workflow changed"}},
	} {
		after := digest(t, c.tree, prod(), c.input)
		if c.name == "own file" { // all that it called is gone
			c.want = []string{
				"`modules/gone` is not used any more", "`modules/net` is not used any more", "`modules/ring` is not used any more", "`prod` changed",
				"`modules/net/main.tf` was added", "`../other/repo` (outside of the repository) is not used any more",
			}
		}
		if diff := cmp.Diff(c.want, Moved(before, after)); diff != "" {
			t.Errorf("%s: Moved (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestDigestWhenModulesAreUnknown(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"main.tf":      "module \"x\" {\n  source = \"../modules/${var.x}\"\n}\n",
		"local.tf":     "module \"x\" {\n  source = local.x\n}\n",
		"main.tf.json": `{"module": {"x": {"source": "../${var.x}"}}}`,
		"huge.tf":      "module \"x\" {}\n" + strings.Repeat("#", mostHCL),
	} {
		tree := newTree("-- p/x --\n-- anywhere/x --\n").with("p/"+name, content)
		before := digest(t, tree, Project{Dir: "p"}, Inputs{})
		after := digest(t, tree.with("anywhere/x", "x"), Project{Dir: "p"}, Inputs{})
		if diff := cmp.Diff([]string{"the repository changed"}, Moved(before, after)); diff != "" {
			t.Errorf("%s: Moved (-want +got):\n%s", name, diff)
		}
	}
}

func TestDigestThroughLinks(t *testing.T) {
	t.Parallel()
	tree := newTree("-- p -> real/p --\n-- real/p/main.tf --\nmodule \"m\" { source = \"./m\" }\n-- real/p/m -> ../../m --\n-- m/main.tf --\nmodule \"n\" { source = \"../n\" }\n-- n/main.tf --\n-- real/p/n/main.tf --\n")
	d := digest(t, tree, Project{Dir: "p"}, Inputs{})
	// terraform looks for ../n beside the link, p/n, and not beside what it leads to.
	for _, want := range []string{"dir real/p", "dir m", "dir real/p/n"} {
		if _, ok := d.Parts[want]; !ok {
			t.Errorf("parts %v, want %q", d.Parts, want)
		}
	}
	if _, ok := d.Parts["dir n"]; ok {
		t.Errorf("parts %v have the wrong n", d.Parts)
	}
}

func TestDigestOfManyFiles(t *testing.T) {
	t.Parallel()
	tree := newTree("-- p/x.tf --\n")
	for i := range mostFiles + 1 {
		tree.content[fmt.Sprintf("data/d%d/x%d", i%3, i)] = ""
	}
	p := Project{Dir: "p", WhenModified: []string{"../data/**"}}
	before := digest(t, tree, p, Inputs{})
	if len(before.Parts) != 3+1+3 {
		t.Errorf("%d parts", len(before.Parts))
	}
	after := digest(t, tree.with("data/d1/x1", "x"), p, Inputs{})
	if diff := cmp.Diff([]string{"files in `data/d1` changed"}, Moved(before, after)); diff != "" {
		t.Errorf("Moved (-want +got):\n%s", diff)
	}
}

func TestDigestSurvivesJSON(t *testing.T) {
	t.Parallel()
	tree := &memTree{content: map[string]string{"p\xff/x.tf": ""}}
	d := digest(t, tree, Project{Dir: "p\xff"}, Inputs{})
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var back Digested
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, back); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMovedIsNeverEmpty(t *testing.T) {
	t.Parallel()
	d := Digested{Sum: "1:a", Parts: map[string]string{"dir p": "x"}}
	for _, c := range []struct {
		before, after Digested
		want          string
	}{
		{Digested{Sum: "0:b", Parts: d.Parts}, d, "this version records what a plan is made from in another way"},
		{Digested{Sum: "1:b"}, d, "what it was made from is not known any more"},
		{d, Digested{Sum: "1:b", Parts: map[string]string{"dir p`\n": "x"}}, "`p` is not used any more; `p'\ufffd` was added"},
	} {
		if got := strings.Join(Moved(c.before, c.after), "; "); got != c.want {
			t.Errorf("Moved = %q, want %q", got, c.want)
		}
	}
}

// A digest changes with every file of the closure and with no other one.
func TestDigestProperty(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		tree, calls := randomRepo(rnd)
		p := Project{Dir: "d0", Workspace: "default"}
		in := map[string]bool{"d0": true}
		for queue := []string{"d0"}; len(queue) > 0; queue = queue[1:] {
			for _, c := range calls[queue[0]] {
				if !in[c] {
					in[c] = true
					queue = append(queue, c)
				}
			}
		}
		before := digest(t, tree, p, Inputs{})
		for _, f := range tree.Files() {
			after := digest(t, tree.with(f, tree.content[f]+"\n# more\n"), p, Inputs{})
			if inside := in[path.Dir(f)]; inside != (after.Sum != before.Sum) {
				t.Fatalf("%s: inside the closure %v, digest moved %v\n%v", f, inside, Moved(before, after), calls)
			}
		}
		if again := digest(t, tree, p, Inputs{}); again.Sum != before.Sum {
			t.Fatalf("two digests of one tree: %q, %q", before.Sum, again.Sum)
		}
	}
}

func randomRepo(rnd *rand.Rand) (*memTree, map[string][]string) {
	tree := &memTree{content: map[string]string{}, links: map[string]string{}}
	calls := map[string][]string{}
	n := 2 + rnd.IntN(6)
	for i := range n {
		dir := fmt.Sprintf("d%d", i)
		var b strings.Builder
		for range rnd.IntN(3) {
			to := fmt.Sprintf("d%d", rnd.IntN(n))
			calls[dir] = append(calls[dir], to)
			fmt.Fprintf(&b, "module \"m%d\" {\n  source = \"../%s\"\n}\n", rnd.Int(), to)
		}
		tree.content[dir+"/main.tf"] = b.String()
		tree.content[dir+"/README.md"] = "x"
	}
	return tree, calls
}
