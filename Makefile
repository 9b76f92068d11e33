# Everything a contributor runs. `make help` lists it.
export CARGO_BUILD_JOBS ?= 2
# When this make started: the task runner counts its own build as well.
export ODIGOS_BEGUN := $(shell date +%s)
KEEP ?=
SHARED ?=
ROTATE ?=
PREPARE ?=
ifneq ($(filter-out e2e,$(PREPARE)),)
$(error PREPARE takes the value e2e)
endif
# Whether a switch is set; 0 and no switch it off.
is = $(filter-out 0 no false,$($1))
RUNNER = @echo "building the task runner (seconds, the first time half a minute)"; cargo xtask

.PHONY: help run test doctor binaries e2e lint fmt generate generate-check tidy deny crates tools images bench clean

help: ## show this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

run: ## run the whole product on this machine with real telemetry (KEEP=1 leaves it up)
	$(RUNNER) run $(if $(call is,KEEP),--keep)

test: ## format, lints, boundaries, generated files, and every test but cluster scenarios and measurements
	$(RUNNER) test $(if $(filter e2e,$(PREPARE)),--prepare-e2e)

doctor: ## what run, test, e2e, images and bench need, what is missing, and the command that installs it
	$(RUNNER) doctor

e2e: ## scenarios on a cluster with real nodes, made on this machine (root; KEEP=1: left up; ROTATE=1: as .ci/run takes them)
	$(RUNNER) e2e $(if $(call is,KEEP),--keep) $(if $(call is,SHARED),--shared) $(if $(call is,ROTATE),--rotate)

binaries: ## all binaries and tests, unoptimised
	cargo build --workspace --locked --all-targets
	cargo build --workspace --locked --test stories

lint: ## format, lints, boundaries, licences, unused dependencies, workflows
	$(RUNNER) lint

fmt: ## format everything
	cargo fmt --all

generate: ## write generated files
	$(RUNNER) generate

generate-check: ## fail when a generated file is not up to date
	$(RUNNER) generate --check

tidy: ## check the boundaries between crates
	$(RUNNER) tidy

deny: ## licences, banned crates, sources, unused dependencies, advisories
	$(RUNNER) deny

crates: ## check that each crate compiles by itself
	$(RUNNER) crates

tools: ## build the real peers of the tests into a cache
	$(RUNNER) tools

images: ## write the container images as OCI archives into target/images
	$(RUNNER) images

bench: ## figures: planning core, and 5,000 Sources on a real API server (writes target/bench)
	$(RUNNER) doctor bench
	$(RUNNER) tools
	cargo test --release --package odigos-plan --test scale -- --nocapture --ignored
	cargo bench --package odigos-plan --bench settle
	cargo test --release --package odigos-testkit --test load -- --nocapture --ignored
	cargo test --release --package odigos-testkit --test sampling -- --nocapture --ignored
	cargo test --release --package odigos-testkit --test collector -- --nocapture --ignored tls_costs
	cargo test --release --package odigos-testkit --test collector -- --nocapture --ignored actions_cost
	cargo test --release --package odigos-testkit --test personas -- --nocapture --ignored hostile
	cargo test --release --package odigos-testkit --test injection -- --nocapture --ignored
	cargo test --release --package odigos-testkit --test detection -- --nocapture --ignored
	ODIGOS_SAMPLING_SETS=10000 cargo test --release --package odigos-plan -- judge_and_policies
	cd deploy/collector && go test -tags=grpcnotrace,remove_all_sd -run='^$$' -fuzz='^FuzzEstimate$$' -fuzztime=10m -fuzzminimizetime=10s ./requestlimitextension

clean: ## remove what was built here
	cargo clean
