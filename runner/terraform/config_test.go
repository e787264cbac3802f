package terraform

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestReadConfiguration(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		distribution string
		files        map[string]string
		want         Configuration
		state        string // of workspace default
		prod         string // of workspace prod
	}{
		{
			name: "empty", files: map[string]string{"p/main.tf": ""},
			state: "/co/p/terraform.tfstate", prod: "/co/p/terraform.tfstate.d/prod/terraform.tfstate",
		},
		{
			name:  "s3",
			files: map[string]string{"p/main.tf": "terraform {\n  backend \"s3\" {\n    bucket = \"b\"\n  }\n}"},
			want:  Configuration{Backend: "s3"},
		},
		{
			name:  "cloud",
			files: map[string]string{"p/main.tf": "terraform {\n  cloud {\n    organization = \"o\"\n    workspaces {\n      name = \"w\"\n    }\n  }\n}"},
			want:  Configuration{Cloud: true},
		},
		{
			name: "an override wins, whatever its name's place in the alphabet",
			files: map[string]string{
				"p/a_override.tf": "terraform {\n  backend \"local\" {\n    path = \"/x/s\"\n    workspace_dir = \"/x/w\"\n  }\n}",
				"p/main.tf":       "terraform {\n  backend \"s3\" {}\n}",
			},
			want: Configuration{Backend: "local"}, state: "/x/s", prod: "/x/w/prod/terraform.tfstate",
		},
		{
			name:  "json",
			files: map[string]string{"p/main.tf.json": `{"terraform":{"backend":{"gcs":{"bucket":"b"}},"required_providers":{"aws":{"source":"hashicorp/aws","version":"~> 5.0"}}},"resource":{"random_id":{"a":{}}}}`},
			want: Configuration{Backend: "gcs", Providers: map[string][]string{
				"registry.terraform.io/hashicorp/aws": {"~> 5.0"}, "registry.terraform.io/hashicorp/random": nil,
			}},
		},
		{
			name:  "tofu's files are not terraform's",
			files: map[string]string{"p/main.tofu": "terraform {\n  backend \"s3\" {}\n}"},
			state: "/co/p/terraform.tfstate", prod: "/co/p/terraform.tfstate.d/prod/terraform.tfstate",
		},
		{
			name: "tofu's files", distribution: OpenTofu,
			files: map[string]string{"p/main.tofu": "terraform {\n  backend \"s3\" {}\n}"},
			want:  Configuration{Backend: "s3"},
		},
		{
			name: "local modules are followed, others are not, and their backends do not count",
			files: map[string]string{
				"p/main.tf": "module \"a\" {\n  source = \"../m\"\n}\nmodule \"b\" {\n  source = \"example.com/x/y/z\"\n  version = \"1.0.0\"\n}\nterraform {\n  backend \"s3\" {}\n}",
				"m/main.tf": "terraform {\n  required_providers {\n    t = { source = \"Acme/Thing\", version = \">= 1\" }\n  }\n  backend \"local\" {}\n}\nmodule \"loop\" {\n  source = \"../p\"\n}\nresource \"t_x\" \"y\" {}\ndata \"time_static\" \"z\" {}",
			},
			want: Configuration{Backend: "s3", RemoteModules: true, Providers: map[string][]string{
				"registry.terraform.io/acme/thing": {">= 1"}, "registry.terraform.io/hashicorp/time": nil,
			}},
		},
		{
			name: "what the modules of tests call is fetched by init, and their providers are no plan's",
			files: map[string]string{
				"p/tests/a.tftest.hcl": "run \"x\" {\n  module {\n    source = \"./tests/setup\"\n  }\n}",
				"p/tests/setup/m.tf":   "module \"m\" {\n  source = \"git::https://example.com/m.git\"\n}\nresource \"random_id\" \"r\" {}",
			},
			want: Configuration{RemoteModules: true}, state: "/co/p/terraform.tfstate", prod: "/co/p/terraform.tfstate.d/prod/terraform.tfstate",
		},
		{
			name:  "a module of a registry in a test",
			files: map[string]string{"p/b.tftest.json": `{"run":{"y":{"module":{"source":"acme/m/aws"}}}}`},
			want:  Configuration{RemoteModules: true}, state: "/co/p/terraform.tfstate", prod: "/co/p/terraform.tfstate.d/prod/terraform.tfstate",
		},
		{
			name:  "a test that can't be read",
			files: map[string]string{"p/tests/a.tftest.hcl": strings.Repeat("[", 1000)},
			want:  Configuration{RemoteModules: true}, state: "/co/p/terraform.tfstate", prod: "/co/p/terraform.tfstate.d/prod/terraform.tfstate",
		},
		{
			name: "tests of what is there",
			files: map[string]string{
				"p/a.tftest.hcl": "run \"x\" {\n  command = plan\n}\nrun \"y\" {\n  module {\n    source = \"../m\"\n  }\n}",
				"m/main.tf":      "", "p/other/a.tftest.hcl": "run \"x\" {\n  module {\n    source = \"acme/m/aws\"\n  }\n}",
			},
			state: "/co/p/terraform.tfstate", prod: "/co/p/terraform.tfstate.d/prod/terraform.tfstate",
		},
		{
			name: "tofu's tests", distribution: OpenTofu,
			files: map[string]string{"p/a.tofutest.hcl": "run \"x\" {\n  module {\n    source = \"acme/m/aws\"\n  }\n}"},
			want:  Configuration{RemoteModules: true}, state: "/co/p/terraform.tfstate", prod: "/co/p/terraform.tfstate.d/prod/terraform.tfstate",
		},
		{
			name: "built-in providers are none",
			files: map[string]string{
				"p/main.tf": "terraform {\n  backend \"s3\" {}\n  required_providers {\n    tf = { source = \"terraform.io/builtin/terraform\" }\n  }\n}\nresource \"terraform_data\" \"a\" {}\nresource \"tf_data\" \"b\" {}\ndata \"terraform_remote_state\" \"c\" {}",
			},
			want: Configuration{Backend: "s3"},
		},
		{
			name:  "old short form of a required provider",
			files: map[string]string{"p/main.tf": "terraform {\n  backend \"s3\" {}\n  required_providers {\n    aws = \"~> 4.0\"\n  }\n}"},
			want:  Configuration{Backend: "s3", Providers: map[string][]string{"registry.terraform.io/hashicorp/aws": {"~> 4.0"}}},
		},
		{
			name:  "a broken file beside a good one",
			files: map[string]string{"p/a.tf": "resource \"x {", "p/b.tf": "terraform {\n  backend \"s3\" {}\n}"},
			want:  Configuration{Backend: "s3"},
		},
		{
			name:  "nonsense where text is expected",
			files: map[string]string{"p/a.tf": "terraform {\n  required_version = 5\n  backend \"local\" {\n    path = null\n  }\n  required_providers {\n    a = 7\n    b = { source = 1, version = var.x }\n  }\n}\nmodule \"m\" {\n  source = 5\n}"},
			want: Configuration{Backend: "local", RemoteModules: true, Providers: map[string][]string{
				"registry.terraform.io/hashicorp/a": nil, "registry.terraform.io/hashicorp/b": nil,
			}},
			state: "/co/p/terraform.tfstate", prod: "/co/p/terraform.tfstate.d/prod/terraform.tfstate",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			for name, text := range tt.files {
				writeFile(t, filepath.Join(root, name), text)
			}
			got, err := ReadConfiguration(root, "p", tt.distribution)
			if err != nil {
				t.Fatal(err)
			}
			opts := cmp.Options{cmpopts.IgnoreUnexported(Configuration{}), cmpopts.IgnoreFields(Configuration{}, "Inputs"), cmpopts.EquateEmpty()}
			if diff := cmp.Diff(tt.want, got, opts); diff != "" {
				t.Errorf("ReadConfiguration (-want +got):\n%s", diff)
			}
			if state, prod := got.StatePath("/co/p", DefaultWorkspace), got.StatePath("/co/p", "prod"); state != tt.state || prod != tt.prod {
				t.Errorf("StatePath = %q and %q, want %q and %q", state, prod, tt.state, tt.prod)
			}
		})
	}
}

// TestInputs says which edits make init run again.
func TestInputs(t *testing.T) {
	t.Parallel()
	base := map[string]string{
		"main.tf":   "terraform {\n  required_version = \">= 1\"\n  backend \"s3\" {\n    bucket = \"b\"\n  }\n  required_providers {\n    aws = { source = \"hashicorp/aws\" }\n  }\n}\nmodule \"m\" {\n  source = \"./m\"\n  x = 1\n}\nresource \"terraform_data\" \"a\" {}\n",
		"m/main.tf": "variable \"x\" {}\n",
	}
	tests := []struct {
		name  string
		edit  map[string]string
		again bool
	}{
		{"nothing", nil, false},
		{"another resource", map[string]string{"b.tf": "resource \"terraform_data\" \"b\" {}"}, false},
		{"a value", map[string]string{"m/main.tf": "variable \"x\" { default = 2 }\n"}, false},
		{"backend", map[string]string{"b_override.tf": "terraform {\n  backend \"s3\" {\n    bucket = \"c\"\n  }\n}"}, true},
		{"provider of a new type", map[string]string{"b.tf": "resource \"random_id\" \"b\" {}"}, true},
		{"provider constraint in a module", map[string]string{"m/v.tf": "terraform {\n  required_providers {\n    aws = { source = \"hashicorp/aws\", version = \"5.0\" }\n  }\n}"}, true},
		{"module call in a module", map[string]string{"m/v.tf": "module \"n\" {\n  source = \"./n\"\n}"}, true},
		{"required version", map[string]string{"v.tf": "terraform {\n  required_version = \">= 1.2\"\n}"}, true},
		{"broken file", map[string]string{"v.tf": "resource \"x {"}, true},
	}
	read := func(t *testing.T, edit map[string]string) string {
		t.Helper()
		root := t.TempDir()
		for _, files := range []map[string]string{base, edit} {
			for name, text := range files {
				writeFile(t, filepath.Join(root, name), text)
			}
		}
		c, err := ReadConfiguration(root, ".", Terraform)
		if err != nil {
			t.Fatal(err)
		}
		return c.Inputs
	}
	before := read(t, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if again := read(t, tt.edit) != before; again != tt.again {
				t.Errorf("init is needed: %v, want %v", again, tt.again)
			}
		})
	}
}

func TestReadConfigurationStaysInTheCheckout(t *testing.T) {
	t.Parallel()
	outside, root := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(outside, "main.tf"), "terraform {\n  backend \"s3\" {}\n}")
	writeFile(t, filepath.Join(root, "p", "main.tf"), "module \"a\" {\n  source = \"../../outside\"\n}\nmodule \"b\" {\n  source = \"./link\"\n}")
	for name, target := range map[string]string{"out.tf": filepath.Join(outside, "main.tf"), "link": outside} {
		if err := os.Symlink(target, filepath.Join(root, "p", name)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadConfiguration(root, "p", Terraform)
	if err != nil || got.Backend != "" {
		t.Errorf("ReadConfiguration = %+v, %v", got, err)
	}
	if _, err := ReadConfiguration(root, "p/link", Terraform); err == nil {
		t.Error("a project directory that leads out of the checkout was read")
	}
	if _, err := ReadConfiguration(root, "none", Terraform); err == nil {
		t.Error("a project directory that is not there was read")
	}
}

func FuzzReadConfiguration(f *testing.F) {
	f.Add("terraform {\n  backend \"local\" {\n    path = \"x\"\n  }\n  required_providers {\n    a = { source = \"b/c\", version = \"1\" }\n  }\n}\n", false)
	f.Add("module \"m\" {\n  source = \"./\"\n}\nresource \"\" \"\" {}\ndata \"x_y\" \"z\" {}", false)
	f.Add(`{"terraform":[{"backend":{"local":[{"path":1}]}}],"module":{"m":{"source":["./x"]}}}`, true)
	f.Fuzz(func(t *testing.T, text string, isJSON bool) {
		root := t.TempDir()
		name := "main.tf"
		if isJSON {
			name += ".json"
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := ReadConfiguration(root, ".", Terraform)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := ReadConfiguration(root, ".", Terraform); err != nil || a.Inputs != b.Inputs {
			t.Errorf("two readings differ: %v", err)
		}
	})
}
