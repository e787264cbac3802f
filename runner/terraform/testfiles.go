package terraform

import (
	"path"

	"github.com/hashicorp/hcl/v2"
)

// testsRemote reports whether a module that the tests of a root module run may have to be fetched. Of the tests nothing else matters to a
// plan, so that what is wrong with them is left to terraform: a doubt means yes.
func (r *configReader) testsRemote(dir string) bool {
	found := Configuration{Providers: make(map[string][]string)}
	tests := configReader{fsys: r.fsys, tofu: r.tofu, config: &found, seen: make(map[string]bool)}
	suffixes := []string{".tftest.json", ".tftest.hcl"}
	if r.tofu {
		suffixes = append(suffixes, ".tofutest.json", ".tofutest.hcl")
	}
	// Without -test-directory these are the places: https://developer.hashicorp.com/terraform/language/tests
	for _, place := range []string{dir, path.Join(dir, "tests")} {
		names, err := tests.files(place, suffixes)
		if err != nil {
			continue // there are none
		}
		for _, name := range names {
			if err := tests.testFile(dir, place, name); err != nil || found.RemoteModules {
				return true
			}
		}
	}
	return false
}

// testFile follows the modules that a file of tests runs, which are named from the root module.
func (r *configReader) testFile(root, dir, name string) error {
	file, err := r.parse(dir, name)
	if err != nil || file == nil {
		return err
	}
	runs, _, _ := file.Body.PartialContent(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "run", LabelNames: []string{"name"}}}})
	for _, run := range runs.Blocks {
		modules, _, _ := run.Body.PartialContent(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "module"}}})
		for _, module := range modules.Blocks {
			content, _, _ := module.Body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "source"}}})
			source := literal(content.Attributes["source"])
			if !isLocal(source) {
				r.config.RemoteModules = true
				return nil
			}
			if err := r.module(path.Join(root, source), false); err != nil {
				return err
			}
		}
	}
	return nil
}
