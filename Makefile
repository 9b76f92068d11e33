# Everything a contributor runs. `make help` lists it.
export CARGO_BUILD_JOBS ?= 2
KEEP ?=
SHARED ?=
# Built once for everything: cargo compiles dependencies anew for each choice of packages.
BUILT := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/debug

.PHONY: help run test binaries e2e lint fmt generate generate-check tidy deny tools images bench clean

help: ## show this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

run: ## run the whole product on this machine with real telemetry (KEEP=1 leaves it up)
	cargo xtask run $(if $(KEEP),--keep)

test: lint ## format, lints, boundaries, generated files, and every test but cluster and scale
	$(MAKE) --no-print-directory binaries
	$(BUILT)/odigos-xtask tools
	$(BUILT)/odigos-xtask tidy
	$(BUILT)/odigos-xtask generate --check
	cd deploy/images/golang && go test ./control/...
	ODIGOS_TEST_BINARIES=$(BUILT) cargo test --workspace --locked --no-fail-fast

binaries: ## all binaries and tests, unoptimised
	cargo build --workspace --bins --tests --locked
	cargo build --workspace --test stories --locked

e2e: binaries ## stories on a cluster with real nodes, made on this machine (root; KEEP=1: left up; SHARED=1: on two at once)
	ODIGOS_TEST_BINARIES=$(BUILT) $(BUILT)/odigos-xtask e2e $(if $(KEEP),--keep) $(if $(SHARED),--shared)

lint: ## format and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --workspace --test stories --locked -- -D warnings

fmt: ## format everything
	cargo fmt --all

generate: ## write generated files
	cargo xtask generate

generate-check: ## fail when a generated file is not up to date
	cargo xtask generate --check

tidy: ## check the boundaries between crates
	cargo xtask tidy

deny: ## licences, advisories, banned crates (installs cargo-deny when it is missing)
	command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny check

tools: ## build the real peers of the tests into a cache
	cargo xtask tools

images: ## write the container images as OCI archives into target/images
	cargo xtask images

bench: tools ## figures: planning core, and 5,000 Sources on a real API server (writes target/bench)
	cargo test --release --package odigos-plan --test scale -- --nocapture --ignored
	cargo bench --package odigos-plan --bench settle
	cargo test --release --package odigos-testkit --test load -- --nocapture --ignored
	cargo test --release --package odigos-testkit --test sampling -- --nocapture --ignored
	cargo test --release --package odigos-testkit --test injection -- --nocapture --ignored
	cargo test --release --package odigos-testkit --test detection -- --nocapture --ignored
	ODIGOS_SAMPLING_SETS=10000 cargo test --release --package odigos-plan -- judge_and_policies

clean: ## remove what was built here
	cargo clean
