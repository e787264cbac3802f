package terraform

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
)

func TestCLIConfig(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		files map[string]string // below HOME
		env   []string
		tool  Tool
		want  string // with HOME for the home directory
		no    bool
	}{
		{
			name: "nothing of the operator's",
			want: `provider_installation {
  filesystem_mirror {
    path    = "/store"
    include = ["example.com/a/b"]
  }
  direct {
    exclude = ["example.com/a/b"]
  }
}
`,
		},
		{
			name: "settings stay, plugin caches go",
			files: map[string]string{
				".terraformrc":                           "plugin_cache_dir = \"$HOM/x\"\nplugin_cache_may_break_dependency_lock_file = true\ndisable_checkpoint = true\ncredentials \"c.example\" {\n  token = \"${x}\"\n}\n",
				".terraform.d/more.tfrc":                 "host \"h.example\" {\n  services = {\n    \"modules.v1\" = \"https://h.example/\"\n  }\n}\n",
				".terraform.d/plugins/r/n/t/1.0.0/x_y/p": "",
				".terraform.d/credentials.tfrc.json":     "{}",
			},
			want: `disable_checkpoint = true
credentials "c.example" {
  token = "${x}"
}
host "h.example" {
  services = {
    "modules.v1" = "https://h.example/"
  }
}
provider_installation {
  filesystem_mirror {
    path    = "/store"
    include = ["example.com/a/b"]
  }
  filesystem_mirror {
    path    = "HOME/.terraform.d/plugins"
    include = ["r/n/t"]
  }
  direct {
    exclude = ["example.com/a/b", "r/n/t"]
  }
}
`,
		},
		{
			name: "the operator's ways stay behind ours",
			files: map[string]string{"my.tfrc": `provider_installation {
  dev_overrides {
    "a/b" = "/dev"
  }
  network_mirror {
    url     = "https://mirror.example/"
    exclude = ["x/*/*"]
  }
  direct {}
}
`},
			env: []string{"TF_CLI_CONFIG_FILE=HOME/my.tfrc"},
			want: `provider_installation {
  filesystem_mirror {
    path    = "/store"
    include = ["example.com/a/b"]
  }
  dev_overrides {
    "a/b" = "/dev"
  }
  network_mirror {
    url = "https://mirror.example/"
    exclude = ["example.com/a/b", "x/*/*"]
  }
  direct {
    exclude = ["example.com/a/b"]
  }
}
`,
		},
		{
			name: "tofu's own file", tool: Tool{Distribution: OpenTofu},
			files: map[string]string{".terraformrc": "disable_checkpoint = true\n", ".tofurc": "provider_installation {\n  direct {}\n}\n"},
			want: `provider_installation {
  filesystem_mirror {
    path    = "/store"
    include = ["example.com/a/b"]
  }
  direct {
    exclude = ["example.com/a/b"]
  }
}
`,
		},
		{name: "json", files: map[string]string{".terraform.d/a.tfrc.json": "{}"}, no: true},
		{name: "broken", files: map[string]string{".terraformrc": "credentials \"x {"}, no: true},
		{name: "an exclude that is no list", files: map[string]string{".terraformrc": "provider_installation {\n  direct {\n    exclude = x\n  }\n}\n"}, no: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			for name, text := range tt.files {
				writeFile(t, filepath.Join(home, name), text)
			}
			environ := []string{"HOME=" + home, "XDG_DATA_DIRS=" + home}
			for _, entry := range tt.env {
				environ = append(environ, replaceHome(entry, home))
			}
			s := &ProviderStore{Dir: "/store", Environ: environ, Log: slog.New(slog.DiscardHandler)}
			got, ok := s.CLIConfig(tt.tool, ProviderSet{Stored: []string{"example.com/a/b"}})
			if ok == tt.no {
				t.Fatalf("CLIConfig = %v:\n%s", ok, got)
			}
			if want := replaceHome(tt.want, home); got != want {
				t.Errorf("CLIConfig = %s\nwant %s", got, want)
			}
		})
	}
}

func replaceHome(s, home string) string { return strings.ReplaceAll(s, "HOME/", home+"/") }
