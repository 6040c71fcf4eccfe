# What people and machines run. `make help` lists it.

.PHONY: help demo test lint fmt check simulate analysis-proof analysis-table analysis-sockets faults attacks bench plugins prepare clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 18

demo: prepare ## A release that goes wrong and takes itself back, in a terminal
	cargo build --locked
	target/debug/tidegate demo

test: ## All tests; the gates in JavaScript and Python are built first, unless they are up to date
	@scripts/prepare.sh test
	plugins/build.sh changed
	TIDEGATE_GATES=large scripts/test.sh
	cargo test --locked --manifest-path plugins/Cargo.toml --workspace --exclude wrap

lint: prepare ## Format, clippy, documentation, licences and sources; warnings are errors
	scripts/lint.sh

fmt: ## Formats the code
	cargo fmt

check: prepare ## Type-checks everything
	cargo check --locked --all-targets

simulate: prepare ## The simulation with 100 000 runs, or TIDEGATE_SIM_RUNS
	scripts/simulate.sh

analysis-proof: prepare ## False rollbacks in 20 000 rollouts of each kind, or TIDEGATE_PROOF_RUNS
	scripts/analysis-proof.sh

analysis-table: prepare ## The tables of docs/analysis.md: Tidegate and checkers by thresholds
	scripts/analysis-table.sh

analysis-sockets: prepare ## Leak, rescue, slowness, shared outage on sockets: 20 runs, 20 services
	TIDEGATE_E2E_RUNS=20 cargo test --release --locked --test e2e -- --nocapture evidence::

faults: prepare ## Load, faults and attacks in their full size; results in target/faults.json
	scripts/faults.sh

attacks: prepare ## Attack scripts of others (../shared, or TIDEGATE_SHARED) against a running process
	scripts/attacks.sh

bench: prepare ## Time of a selection, the comparison, gates and a start; memory of gates and when idle
	plugins/build.sh changed
	cargo bench --locked --bench selection --bench comparison --bench gates --bench start

plugins: prepare ## Builds the gates in all four languages, and a new one in each, and runs their cases
	plugins/build.sh
	TIDEGATE_GATES=all cargo test --locked --test e2e -- shipped_gates gate_languages

prepare: ## Installs what a build needs, on Debian; elsewhere says what is missing
	@scripts/prepare.sh

clean: ## Removes what was built
	cargo clean
