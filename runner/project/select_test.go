package project

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const found = `
-- README.md --
-- network/main.tf --
-- network/README.md --
-- network/prod.tfvars --
-- network/templates/x.tpl --
-- network/env/prod.tfvars --
-- envs/env/main.tf --
-- tofu/main.tofu --
-- json/main.tf.json --
-- tofujson/main.tofu.json --
-- grunt/terragrunt.hcl --
-- vars/only.tfvars --
-- docs/x.md --
-- app/main.tf --
-- app/modules/db/main.tf --
-- app/modules/db/sub/modules/x/main.tf --
-- nothing/modules/db/main.tf --
-- cloud/main.tf --
terraform {
  cloud {
    organization = "o"
    workspaces {
      name = "prod-net" # literal
    }
  }
}
-- cloudtags/main.tf --
terraform {
  cloud {
    workspaces { tags = ["a"] }
  }
}
-- cloudbad/main.tf --
terraform {
  cloud {
    workspaces {
      name = "a b"
    }
  }
}
-- cloudjson/main.tf.json --
{"terraform": [{"cloud": {"workspaces": [{"name": "js"}]}}]}
-- cloudtofu/main.tofu --
terraform {
  cloud {
    workspaces {
      name = "of"
    }
  }
}
-- cloudtofu/main.tf --
-- link -> network --
-- linked/main.tf -> ../network/main.tf --
`

func TestSelectFound(t *testing.T) {
	t.Parallel()
	for changed, want := range map[string]string{
		"network/main.tf":                                "network",
		"network/prod.tfvars":                            "network",
		"network/prod.auto.tfvars.json":                  "network",
		"network/.terraform.lock.hcl":                    "network",
		"network/gone.tf":                                "network",
		"network/README.md":                              "",
		"network/templates/x.tpl":                        "",
		"network/terraform.tfstate":                      "",
		"network/terraform.tfstate.backup.tf":            "",
		"network/.tflint.hcl":                            "",
		"network/x.hcl":                                  "",
		"network/env/prod.tfvars":                        "network",
		"envs/env/main.tf":                               "envs/env",
		"tofu/main.tofu":                                 "tofu",
		"json/main.tf.json":                              "json",
		"tofujson/main.tofu.json":                        "tofujson",
		"grunt/terragrunt.hcl":                           "grunt",
		"vars/only.tfvars":                               "",
		"gone/main.tf":                                   "",
		"main.tf":                                        "",
		"app/modules/db/main.tf":                         "app",
		"app/modules/db/sub/modules/x/main.tf":           "app",
		"app/modules/new/x.tf":                           "app",
		"nothing/modules/db/main.tf":                     "",
		"modules/x.tf":                                   "",
		"cloud/main.tf":                                  "cloud (prod-net)",
		"cloudtags/main.tf":                              "cloudtags",
		"cloudbad/main.tf":                               "cloudbad",
		"cloudjson/main.tf.json":                         "cloudjson (js)",
		"cloudtofu/main.tf":                              "cloudtofu (of)",
		"link":                                           "",
		"link/main.tf":                                   "",
		"linked/main.tf":                                 "linked",
		"tofu/x.tf network/a.tf tofu/y.tf json/a.tfvars": "json, network, tofu",
		"": "",
	} {
		got, err := Select(t.Context(), newTree(found), Config{}, strings.Fields(changed))
		if err != nil || names(got) != want {
			t.Errorf("Select(%q) = %q, %v, want %q", changed, names(got), err, want)
		}
		for _, p := range got {
			if p.Configured || !p.Autoplan || p.Line != 0 {
				t.Errorf("Select(%q) = %+v", changed, p)
			}
		}
	}
}

func names(ps []Project) string {
	out := make([]string, 0, len(ps))
	for _, p := range ps {
		out = append(out, p.String())
	}
	return strings.Join(out, ", ")
}

const called = `
-- modules/net/main.tf --
module "deep" {
  source = "../deep"
}
-- modules/deep/main.tf --
-- modules/net/examples/basic/main.tf --
module "m" { source = "../.." }
-- lib/dns/main.tf --
-- lib/with-backend/main.tf --
terraform {
  backend "s3" {}
}
-- prod/main.tf --
module "net" {
  source = "../modules/net"
}
module "dns" {
  source = "./../lib/dns/"
}
module "remote" {
  source = "git::https://example.com/../lib/dns"
}
-- dev/main.tf.json --
{"module": {"net": {"source": "../modules/deep"}}}
-- stage/main.tofu --
module "b" { source = "../lib/with-backend" }
-- ring/a/main.tf --
module "b" { source = "../b" }
-- ring/b/main.tf --
module "a" { source = "../a" }
-- ring/user/main.tf --
module "a" { source = "../a" }
-- self/main.tf --
module "me" { source = "../self" }
`

func TestSelectCallersOfModules(t *testing.T) {
	t.Parallel()
	for changed, want := range map[string]string{
		"modules/net/main.tf":                "prod",
		"modules/deep/main.tf":               "dev, prod",
		"modules/deep/gone.tf":               "dev, prod",
		"modules/net/examples/basic/main.tf": "",
		"lib/dns/main.tf":                    "prod",
		"lib/with-backend/main.tf":           "lib/with-backend, stage",
		"prod/main.tf":                       "prod",
		"ring/a/main.tf":                     "ring/user",
		"ring/b/main.tf":                     "ring/user",
		"self/main.tf":                       "self",
	} {
		got, err := Select(t.Context(), newTree(called), Config{}, strings.Fields(changed))
		if err != nil || names(got) != want {
			t.Errorf("Select(%q) = %q, %v, want %q", changed, names(got), err, want)
		}
	}
}

func TestSelectModuleRepository(t *testing.T) {
	t.Parallel()
	tree := newTree("-- main.tf --\n-- examples/a/main.tf --\nmodule \"x\" {\n  source = \"../..\"\n}\n-- examples/b/main.tf --\nmodule \"x\" {\n  source = \"../../\"\n}\n")
	got, err := Select(t.Context(), tree, Config{}, []string{"main.tf"})
	if err != nil || names(got) != "examples/a, examples/b" {
		t.Errorf("Select = %q, %v", names(got), err)
	}
}

func TestSelectNamesWhatCannotBeTyped(t *testing.T) {
	t.Parallel()
	tree := &memTree{content: map[string]string{"a\nb/main.tf": ""}}
	got, err := Select(t.Context(), tree, Config{}, []string{"a\nb/main.tf"})
	if err != nil || len(got) != 1 || len(got[0].Unsupported) != 1 {
		t.Errorf("Select = %+v, %v, want it refused by name", got, err)
	}
}

const configured = `
-- atlantis.yaml --
version: 3
projects:
- dir: b
- dir: a
- dir: a
  workspace: prod
  name: a-prod
  autoplan: {when_modified: ["*.tf", "../modules/**", "!secret.tf", "!../modules/doc/**"]}
- dir: c
  autoplan: {enabled: false}
- dir: gone
- dir: d
  autoplan: {when_modified: []}
- dir: "e/!x"
  autoplan: {when_modified: ["../../b/*.tf", ".", "!sub"]}
- dir: .
  name: root
  autoplan: {when_modified: ["root/**", "*.tf"]}
- dir: linked
-- a/x.tf --
-- a/sub/x.tf --
-- b/x.tf --
-- c/x.tf --
-- d/x.tf --
-- e/!x/x.tf --
-- other/x.tf --
-- linked -> b --
`

func TestSelectConfigured(t *testing.T) {
	t.Parallel()
	tree := newTree(configured)
	c, err := Load(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	for changed, want := range map[string]struct{ auto, all string }{
		"a/x.tf":                      {"a, a-prod", ""},
		"a/sub/x.tf":                  {"a", ""},
		"a/secret.tf":                 {"a", ""},
		"a/.terraform.lock.hcl":       {"a", ""},
		"a/x.tfvars":                  {"a", ""},
		"a/README":                    {"", ""},
		"modules/net/x.py":            {"a-prod", ""},
		"modules/doc/x.md":            {"", ""},
		"b/x.tf":                      {"b, e/!x", ""},
		"b/x.tofu":                    {"b", ""},
		"c/x.tf":                      {"", "c"},
		"gone/x.tf":                   {"", ""},
		"d/x.tf":                      {"", ""},
		"e/!x/anything":               {"e/!x", ""},
		"e/!x/sub/anything":           {"", ""},
		"e1/!x/anything":              {"", ""},
		"x.tf":                        {"root", ""},
		"root/deep/x":                 {"root", ""},
		"other/x.tf":                  {"", ""},
		"linked/x.tf":                 {"linked", ""},
		"c/x.tf d/x.tf a/x.tf b/x.tf": {"b, a, a-prod, e/!x", "b, a, a-prod, c, e/!x"},
	} {
		if want.all == "" {
			want.all = want.auto
		}
		got, err := Select(t.Context(), tree, c, strings.Fields(changed))
		if err != nil || names(got) != want.auto {
			t.Errorf("Select(%q) = %q, %v, want %q", changed, names(got), err, want.auto)
		}
		got, err = SelectAll(t.Context(), tree, c, strings.Fields(changed))
		if err != nil || names(got) != want.all {
			t.Errorf("SelectAll(%q) = %q, %v, want %q", changed, names(got), err, want.all)
		}
	}
}

// A configuration without projects configures nothing.
func TestSelectWithoutProjects(t *testing.T) {
	t.Parallel()
	got, err := Select(t.Context(), newTree(found), Config{Path: "atlantis.yaml"}, []string{"network/main.tf"})
	if err != nil || names(got) != "network" {
		t.Errorf("Select = %q, %v", names(got), err)
	}
}

func TestTarget(t *testing.T) {
	t.Parallel()
	const repo = `
-- atlantis.yaml --
version: 3
projects:
- dir: net
- dir: net
  workspace: prod
- dir: db
  name: db-one
- dir: db
  name: db-two
- dir: gone
- dir: net
  workspace: manual
  autoplan: {enabled: false}
-- net/x.tf --
-- db/x.tf --
-- free/x.tf --
-- cloud/x.tf --
terraform {
  cloud {
    workspaces {
      name = "w"
    }
  }
}
-- docs/x.md --
-- link -> net --
-- out -> ../.. --
`
	none := strings.Replace(repo, "atlantis.yaml", "x.yaml", 1)
	root := none + "-- main.tf --\n"
	for _, c := range []struct{ repo, dir, workspace, name, want string }{
		{repo, "net", "", "", "net, net (prod), net (manual)"},
		{repo, "net", "prod", "", "net (prod)"},
		{repo, "net", "default", "", "net"},
		{repo, "net", "prd", "", "error: `net` is not configured for the workspace `prd` | -w [default manual prod] prod"},
		{repo, "db", "", "", "db-one, db-two"},
		{repo, "", "", "db-two", "db-two"},
		{repo, "", "", "db-tow", "error: There is no project named `db-tow` | -p [db-one db-two] db-two"},
		{none, "", "", "db-two", "error: There is no project named `db-two` | -p []  No project of this repository has a name: name its directory, with `-d`."},
		{repo, "free", "", "", "free"},
		{repo, "free", "x", "", "free (x)"},
		{repo, "cloud", "", "", "cloud (w)"},
		{repo, "cloud", "x", "", "cloud (x)"},
		{repo, "gone", "", "", "error: The directory `gone` is not there any more | -d []  `atlantis.yaml` still names it, in line 10."},
		{repo, "nte", "", "", "error: There is no directory `nte` | -d [cloud db free gone net] net"},
		{repo, "docs", "", "", "error: The directory `docs` holds no Terraform files | -d [cloud db free gone net] "},
		{repo, "docs/x.md", "", "", "error: There is no directory `docs/x.md` | -d [cloud db free gone net] "},
		{repo, ".", "", "", "error: The directory `.` holds no Terraform files | -d [cloud db free gone net] "},
		{repo, "link", "", "", "error: The directory `link` is a link to `net` | -d [net] net Name the directory itself."},
		{repo, "out", "", "", "error: The directory `out` is a link that leaves the repository | -d [cloud db free gone net] "},
		{repo, "a`b\n", "", "", "error: There is no directory `a'b\ufffd` | -d [cloud db free gone net] "},
		{repo, "", "prod", "", "net (prod)"},
		{repo, "", "default", "", "net, db-one, db-two"},
		{repo, "", "nope", "", "error: No project is configured for the workspace `nope` | -w [default manual prod] "},
		{none, "", "prod", "", "error: A workspace alone means the root directory, and it holds no Terraform files | -d [cloud db free net]  Name the directory as well, with `-d`."},
		{root, "", "prod", "", ". (prod)"},
		{root, ".", "", "", "."},
		{none, "net", "", "", "net"},
		{none, "net", "x", "", "net (x)"},
	} {
		tree := newTree(c.repo)
		cfg, err := Load(t.Context(), tree)
		if err != nil {
			t.Fatal(err)
		}
		ps, err := Target(t.Context(), tree, cfg, c.dir, c.workspace, c.name)
		got := names(ps)
		if bad := new(TargetError); errors.As(err, &bad) {
			got = strings.TrimSuffix(fmt.Sprintf("error: %s | %s %s %s %s", bad, bad.Flag, bad.There, bad.Suggestion, bad.Detail), " ")
		} else if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("Target(%q, %q, %q) = %q, want %q", c.dir, c.workspace, c.name, got, c.want)
		}
	}
}

func TestTargetErrorIsShort(t *testing.T) {
	t.Parallel()
	tree := &memTree{content: map[string]string{}}
	for i := range 100 {
		tree.content[fmt.Sprintf("d%02d/x.tf", i)] = ""
	}
	_, err := Target(t.Context(), tree, Config{}, "x", "", "")
	bad := new(TargetError)
	if !errors.As(err, &bad) || len(bad.There) != 20 || bad.More != 80 {
		t.Errorf("Target = %v, %+v", err, bad)
	}
}

func TestMatchers(t *testing.T) {
	t.Parallel()
	files := []string{"d/a.tf", "d/s/a.tf", "d/s/t/a.tf", "d/a.tfvars", "d/x/y", "e/a.tf", "m/a.tf", "m/n/a.tf", "a.tf", "d/!a", "dd/a.tf"}
	for patterns, want := range map[string]string{
		"*.tf":                 "d/a.tf",
		"./*.tf":               "d/a.tf",
		"/*.tf":                "d/a.tf",
		"**/*.tf":              "d/a.tf d/s/a.tf d/s/t/a.tf",
		"**":                   "d/a.tf d/s/a.tf d/s/t/a.tf d/a.tfvars d/x/y d/!a",
		".":                    "d/a.tf d/s/a.tf d/s/t/a.tf d/a.tfvars d/x/y d/!a",
		"s":                    "d/s/a.tf d/s/t/a.tf",
		"s/*":                  "d/s/a.tf d/s/t/a.tf",
		"../m":                 "m/a.tf m/n/a.tf",
		"../m/*.tf":            "m/a.tf",
		"../m/**":              "m/a.tf m/n/a.tf",
		"../*.tf":              "a.tf",
		"../**/a.tf":           "d/a.tf d/s/a.tf d/s/t/a.tf e/a.tf m/a.tf m/n/a.tf a.tf dd/a.tf",
		"../**/a.tf !../m !**": "e/a.tf a.tf dd/a.tf",
		"!*.tf":                "",
		"*.tf !a.tf":           "",
		"!a.tf *.tf":           "d/a.tf",
		"** !s s/t":            "d/a.tf d/s/t/a.tf d/a.tfvars d/x/y d/!a",
		"../../x/**":           "",
		"..":                   "d/a.tf d/s/a.tf d/s/t/a.tf d/a.tfvars d/x/y e/a.tf m/a.tf m/n/a.tf a.tf d/!a dd/a.tf",
		"?.tf":                 "d/a.tf",
		"[ab].tf":              "d/a.tf",
		"{a,b}.tf":             "",
		`\!a`:                  "d/!a",
	} {
		m := newMatchers().of(Project{Dir: "d", WhenModified: strings.Fields(patterns)})
		got := slices.DeleteFunc(slices.Clone(files), func(f string) bool { return !m.match(f) })
		wanted := strings.Fields(want)
		if diff := cmp.Diff(wanted, got, sameWhenEmpty()); diff != "" {
			t.Errorf("when_modified %q (-want +got):\n%s", patterns, diff)
		}
	}
}

// What a directory is called does not change what its patterns mean.
func TestMatchersInOddDirectories(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"e[1]", "!x", " x", "a*b", "a?", `a\b`, "a.b", "(a|b)", "{a,b}", "日本", "$x"} {
		m := newMatchers().of(Project{Dir: dir, WhenModified: []string{"*.tf", "../m/*.tf"}})
		for file, want := range map[string]bool{dir + "/x.tf": true, "m/x.tf": true, "e1/x.tf": false, "aXb/x.tf": false, "x/x.tf": false, dir + "/x/x.tf": false} {
			if got := m.match(file); got != want {
				t.Errorf("dir %q: match(%q) = %v, want %v", dir, file, got, want)
			}
		}
		m = newMatchers().of(Project{Dir: dir + "/p", WhenModified: []string{"../*.tf"}})
		for file, want := range map[string]bool{dir + "/x.tf": true, "e1/x.tf": false, "aXb/x.tf": false, "x/x.tf": false} {
			if got := m.match(file); got != want {
				t.Errorf("dir %q: match(%q) = %v, want %v", dir+"/p", file, got, want)
			}
		}
	}
}

func sameWhenEmpty() cmp.Option {
	return cmp.FilterValues(func(a, b []string) bool { return len(a) == 0 && len(b) == 0 }, cmp.Ignore())
}

// bigTree is 1,000 directories with three files each, and modules that half of them call.
func bigTree() (*memTree, []string) {
	tree := &memTree{content: map[string]string{}, links: map[string]string{}}
	var changed []string
	for i := range 1000 {
		dir := fmt.Sprintf("envs/e%d/p%d", i%20, i)
		tree.content[dir+"/main.tf"] = strings.Repeat("resource \"terraform_data\" \"x\" {\n  input = \"${path.module}\"\n}\n", 10) +
			fmt.Sprintf("module \"m\" {\n  source = \"../../../modules/m%d\"\n}\n", i%50)
		tree.content[dir+"/vars.tf"] = "variable \"x\" {}\n"
		tree.content[dir+"/outputs.tf"] = "output \"x\" { value = 1 }\n"
		if i%50 == 0 {
			changed = append(changed, dir+"/main.tf")
		}
	}
	for i := range 50 {
		tree.content[fmt.Sprintf("modules/m%d/main.tf", i)] = "variable \"y\" {}\n"
	}
	return tree, append(changed, "modules/m1/main.tf")
}

// listed keeps a tree's listing, as the real one does.
type listed struct {
	*memTree
	files []string
}

func (l listed) Files() []string { return l.files }

func BenchmarkSelect(b *testing.B) {
	tree, changed := bigTree()
	l := listed{tree, tree.Files()}
	config := Config{Path: "atlantis.yaml"}
	for _, d := range newIndex(l).projectDirs() {
		if strings.HasPrefix(d, "envs") {
			config.Projects = append(config.Projects, Project{Dir: d, Workspace: "default", Autoplan: true, WhenModified: []string{"**/*.tf*", "../../../modules/**"}})
		}
	}
	b.Run("found", func(b *testing.B) { benchSelect(b, l, Config{}, changed, 40) })
	b.Run("configured", func(b *testing.B) { benchSelect(b, l, config, changed, 1000) })
}

func benchSelect(b *testing.B, t Tree, c Config, changed []string, want int) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		got, err := Select(b.Context(), t, c, changed)
		if err != nil || len(got) != want {
			b.Fatalf("Select = %d projects, %v, want %d", len(got), err, want)
		}
	}
}
