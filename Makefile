# Every command of the project. The work is done by the scripts; modules.txt is the
# only list of the modules.

.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := /usr/bin/env bash

# Arguments of single commands: make demo ARGS='--listen 127.0.0.1:9000'
ARGS ?=
BENCH ?= .
BENCHTIME ?= 1s
COUNT ?= 1
STORE ?= memory
VERSIONS ?=
DURATION ?= 60s
FUZZTIME ?= 30s

go := GOTOOLCHAIN=local GOFLAGS="$${GOFLAGS:+$$GOFLAGS }-buildvcs=false" go
modules = $$(sed -e '/^\#/d' -e '/^$$/d' -e 's/ .*//' modules.txt)
packages = $$(for module in $(modules); do echo "./$$module/..."; done)

.PHONY: help
help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: ## Start the chat demo on http://127.0.0.1:8080 (needs only Go)
	@scripts/setup.sh go
	@echo 'Building and starting the demo; the first build takes about a minute. Stop it with Ctrl-C.'
	@$(go) run ./cmd/messagebus demo $(ARGS)

.PHONY: test
test: ## Run everything that CI checks, after installing what that needs
	@scripts/setup.sh test
	@scripts/test.sh

.PHONY: setup
setup: ## Install what "make test" needs, and nothing else
	@scripts/setup.sh test

.PHONY: race
race: ## Run the tests of the released modules with the race detector (COUNT=20 repeats them)
	@scripts/setup.sh race
	@GOFLAGS="$$GOFLAGS -count=$(COUNT)" scripts/test.sh unit

.PHONY: conformance
conformance: ## Run the suite of a store alone (STORE=memory|redis|postgres VERSIONS='13 18')
	@scripts/setup.sh race $(if $(filter memory,$(STORE)),,servers)
	@scripts/stores.sh conformance $(STORE) $(VERSIONS)

.PHONY: faults
faults: ## Run the tests of faults on real servers (COUNT=20 repeats them)
	@scripts/setup.sh race servers
	@COUNT=$(COUNT) scripts/stores.sh faults

.PHONY: soak
soak: ## Publish and subscribe under random faults and check the history (DURATION=60s)
	@scripts/setup.sh race servers
	@DURATION=$(DURATION) scripts/stores.sh soak

.PHONY: fuzz
fuzz: ## Run every fuzz test, FUZZTIME=30s each
	@scripts/setup.sh go
	@scripts/fuzz.sh $(FUZZTIME)

.PHONY: quickstart
quickstart: ## Run the steps of docs/getting-started.md in an empty folder, and say how long they took
	@scripts/setup.sh quickstart
	@$(go) test -count=1 -timeout 15m -v ./integration/gettingstarted

.PHONY: ruby
ruby: ## Let Go and Ruby processes meet, and print the matrix (MESSAGE_BUS_LIB names the gem's lib; COUNT=5 repeats it)
	@scripts/setup.sh ruby
	@scripts/js.sh install integration
	@cd rubycompat && MESSAGEBUS_TEST_SERVERS=local MESSAGEBUS_REQUIRE_RUBY=1 \
		$(go) test -count=$(COUNT) -parallel 6 -timeout 60m -run '^TestMatrix'

.PHONY: guide
guide: ## Run the steps of docs/from-ruby.md with a Rails-shaped application (MESSAGE_BUS_LIB names the gem's lib)
	@scripts/setup.sh guide
	@MESSAGEBUS_TEST_SERVERS=local $(go) test -count=1 -timeout 10m -v ./rubycompat/guide

.PHONY: lint
lint: ## Check formatting, scripts, vet and the linters
	@scripts/setup.sh lint
	@scripts/test.sh workspace format shell vet lint

.PHONY: fmt
fmt: ## Format the Go code
	@find $(modules) -name node_modules -prune -o -name '*.go' -print0 | xargs -0 gofmt -s -w

.PHONY: golden-check
golden-check: ## Record the gem again and compare with rubycompat/golden (MESSAGE_BUS_LIB names the gem's lib)
	@scripts/setup.sh go servers
	@MESSAGEBUS_TEST_SERVERS=local MESSAGEBUS_REQUIRE_RUBY=1 MESSAGEBUS_GOLDEN_CHECK=1 \
		$(go) test -count=1 -timeout 20m -v ./rubycompat/record

.PHONY: bench
bench: ## Run the benchmarks (BENCH=regexp BENCHTIME=1s)
	@$(go) test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) $(packages)

.PHONY: build
build: ## Build the command into bin/messagebus
	@mkdir -p bin
	@CGO_ENABLED=0 $(go) build -trimpath -o bin/messagebus ./cmd/messagebus

.PHONY: js
js: ## Rebuild the browser client's dist/
	@scripts/setup.sh js
	@scripts/js.sh build

.PHONY: site
site: ## Build the documents as a site into site/dist, and show it on http://127.0.0.1:4173
	@scripts/setup.sh js
	@scripts/site.sh serve

.PHONY: deps
deps: ## Bring the reviewed dependency lists up to date
	@scripts/setup.sh go
	@scripts/deps.sh write
