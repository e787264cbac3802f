SHELL := /bin/bash
.DEFAULT_GOAL := help

GO        ?= go
CACHE     ?= $(CURDIR)/.cache
FUZZTIME  ?= 30s
ARGS      ?=
BIN       := bin/tidegate
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS   := -s -w -X main.version=$(VERSION)
export TIDEGATE_CACHE := $(CACHE)

.PHONY: help build demo test test-tools race e2e e2e-gitea e2e-forgejo e2e-gitlab chaos fuzz lint fmt check measure-start show-crash soak mutants screenshots docs clean

help: ## Show the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/tidegate
	@echo "building $(BIN)"
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/tidegate

demo: ## Show everything on this machine: a forge, a repository, two pull requests. ARGS=--script plays it through
	@./.ci/preflight
	@SECONDS=0; echo "building (the first time takes a minute or two)"; \
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/tidegate || exit 1; \
	echo "built in $$SECONDS s"
	@$(BIN) demo $(ARGS)

test: test-tools ## Install what the tests need, then run all of them, with the race detector
	$(GO) test -race -timeout 45m ./...

test-tools:
	@./.ci/test-tools

race: test ## The same as test

e2e: test-tools ## Run the stories only. STORY=name runs one
	$(GO) test -race -timeout 45m ./e2e/... $(if $(STORY),-run 'TestStories/$(STORY)$$' -v)

e2e-gitea: test-tools ## Tell the stories on a real Gitea. STORY=name tells one
	$(GO) test -race -timeout 45m ./e2e -run 'TestStoriesOnGitea/$(or $(STORY),.*)$$' -v

e2e-forgejo: test-tools ## Build a Forgejo, and hold the client of Gitea against it and tell the stories on it. STORY=name tells one
	./.ci/forgejo
	TIDEGATE_GITEA=forgejo $(GO) test -race -count 1 ./vcs/gitea
	TIDEGATE_GITEA=forgejo $(GO) test -race -count 1 -timeout 45m ./e2e -run 'TestStoriesOnGitea/$(or $(STORY),.*)$$' -v

e2e-gitlab: test-tools ## Tell the stories in GitLab's dialect. STORY=name tells one
	$(GO) test -race -timeout 45m ./e2e -run 'TestStoriesOnGitLab/$(or $(STORY),.*)$$' -v

KILLS ?= 20
SEED  ?= 1
FORGE_FAULTS ?=
chaos: test-tools ## Kill the server and its jobs KILLS times while people work, decided by SEED; look for what was lost or done twice. FORGE_FAULTS=1 has the forge misbehave as well
	$(GO) run ./e2e/chaos -kills $(KILLS) -seed $(SEED) $(if $(FORGE_FAULTS),-forge-faults) $(ARGS)

fuzz: ## Run each fuzz target for FUZZTIME (30s)
	@./.ci/fuzz $(FUZZTIME)

lint: ## Run golangci-lint and go vet for darwin, and see that the mutants fit
	@./.ci/lint

fmt: ## Format the code
	@./.ci/lint fmt

check: lint test demo-checks chaos-check ## What CI runs

.PHONY: chaos-check
chaos-check: test-tools ## Chaos with the same 20 kills each time
	$(GO) run ./e2e/chaos -kills 20 -seed 1

.PHONY: demo-checks
demo-checks: build ## Play the demo through, and see it fail without terraform
	@./.ci/demo-checks

measure-start: test-tools ## Measure how soon a killed server is there again, with 10,000 runs in its journal
	$(GO) test -run '^$$' -bench 'BenchmarkStart$$' -benchtime 5x ./e2e

show-crash: test-tools ## Kill a server and all that it runs in the middle of an apply of 60 s; show the pull request, and write docs/crash-example.md
	SHOW_CRASH=1 $(GO) test -count 1 -run 'TestCrashExample$$' ./e2e
	@cat docs/crash-example.md

SOAK_PULLS ?= 2000
soak: test-tools ## Send SOAK_PULLS (2000) pull requests through a server and see that none of them stays in its memory
	SOAK_PULLS=$(SOAK_PULLS) $(GO) test -run '^$$' -bench 'BenchmarkSoak$$' -benchtime 1x -timeout 6h ./e2e

mutants: test-tools ## Break the code in known ways; each must turn a test red. ONLY=engine: those that chaos is for, ONLY=NAME: one
	$(GO) run ./.ci/mutants $(ONLY) $(ARGS)

screenshots: build test-tools ## Make docs/images from a running demo
	@./.ci/screenshots

docs: ## Write what is generated in docs/
	$(GO) run ./cmd/tidegate server --help-markdown > docs/flags.md

clean: ## Remove what was built
	rm -rf bin dist
