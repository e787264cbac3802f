// Package contract holds what is said to and by a fake of GitHub against what GitHub itself publishes: its
// OpenAPI description and the JSON schemas of its webhooks. A fake that drifts away from GitHub would
// make stories pass which fail on the real one.
//
// It knows neither Tidegate nor the fake. Only the tests use it. fetch.sh fetches the two files. Start
// with Load.
package contract

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Contract is GitHub's side of the API. It is safe for concurrent use.
type Contract struct {
	router     routers.Router
	exceptions []exception

	mu       sync.Mutex // a compiler is not safe for concurrent use
	compiler *jsonschema.Compiler
	events   map[string]*jsonschema.Schema
}

const (
	webhooks = "webhooks.json"
	// schemas names the schemas in errors; a bare file name would become a path of this machine.
	schemas = "github:///" + webhooks
)

// Edition is a GitHub with a description of its own.
type Edition string

// The editions that fetch.sh fetches. Those in between have what the two enterprise servers agree on.
const (
	DotCom  Edition = "api.github.com"
	GHES310 Edition = "ghes-3.10" // the last without rulesets
	GHES319 Edition = "ghes-3.19"
)

// Editions is all of them.
func Editions() []Edition { return []Edition{DotCom, GHES310, GHES319} }

// Load reads the files that fetch.sh has put into dir. The schemas of webhooks are those of github.com, whichever edition is asked for.
func Load(dir string, edition Edition) (*Contract, error) {
	router, err := loadAPI(filepath.Join(dir, string(edition)+".json"))
	if err != nil {
		return nil, err
	}
	compiler, err := loadSchemas(filepath.Join(dir, webhooks))
	if err != nil {
		return nil, err
	}
	return &Contract{router: router, exceptions: exceptionsOf(edition), compiler: compiler, events: map[string]*jsonschema.Schema{}}, nil
}

func read(path string) ([]byte, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // a test says where its files are
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: run `make test`, or e2e/contract/fetch.sh, which fetches it", err)
	}
	return raw, err
}

func loadAPI(path string) (routers.Router, error) {
	raw, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("reading GitHub's description: %w", err)
	}
	if raw, err = prune(raw); err != nil {
		return nil, fmt.Errorf("reading GitHub's description: %w", err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(raw)
	if err != nil {
		return nil, fmt.Errorf("reading GitHub's description: %w", err)
	}
	doc.Servers = openapi3.Servers{{URL: "/"}}
	manySegments(doc)
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("reading the paths of GitHub's description: %w", err)
	}
	return router, nil
}

// manySegments lets the last part of a path have slashes where GitHub's description says so in its own way: the name of a
// branch.
func manySegments(doc *openapi3.T) {
	for path, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			for _, p := range op.Parameters {
				last := "/{" + p.Value.Name + "}"
				if p.Value.Extensions["x-multi-segment"] == true && strings.HasSuffix(path, last) {
					doc.Paths.Delete(path)
					doc.Paths.Set(strings.TrimSuffix(path, "}")+":.+}", item)
				}
			}
		}
	}
}

func loadSchemas(path string) (*jsonschema.Compiler, error) {
	raw, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("reading the schemas of GitHub's webhooks: %w", err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("reading the schemas of GitHub's webhooks: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	// The library takes GitHub's templates, such as "/gists{/gist_id}", for wrong ones.
	c.RegisterFormat(&jsonschema.Format{Name: "uri-template", Validate: func(any) error { return nil }})
	if err := c.AddResource(schemas, doc); err != nil {
		return nil, fmt.Errorf("reading the schemas of GitHub's webhooks: %w", err)
	}
	return c, nil
}
