# Everything a contributor runs. `make help` lists it.
export CARGO_BUILD_JOBS ?= 2
KEEP ?=

.PHONY: help run test e2e lint fmt generate generate-check tidy deny tools images bench clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

run: ## run the whole product on this machine with real telemetry (KEEP=1 leaves it up)
	cargo xtask run $(if $(KEEP),--keep)

test: tools ## format, lints, boundaries, generated files, and every test but cluster and scale
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --package odigos-e2e --test stories --locked -- -D warnings
	cargo xtask tidy
	cargo xtask generate --check
	cd deploy/images/golang && go test ./control/...
	cargo test --workspace --locked

e2e: ## stories on a cluster with real nodes, made on this machine (root; KEEP=1 leaves it up)
	cargo xtask e2e $(if $(KEEP),--keep)

lint: ## lints only
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --package odigos-e2e --test stories --locked -- -D warnings

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
