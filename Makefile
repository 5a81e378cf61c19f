# Muster's table of contents. `make` alone prints it.

.DEFAULT_GOAL := help
.PHONY: help run test check fmt doc bench soak clean

help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

run: ## the main job, visible: customers' whole life, an hour in a few seconds, then a link to try yourself
	cargo run --locked -p muster -- demo

test: ## everything: formatting, lints, all tests
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo test --locked --workspace

check: ## the quick loop: formatting, lints, the shared crate's tables, the scenarios, the Terraform
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo test --locked -p shared
	cargo test --locked -p tests --test scenario --test terraform

fmt: ## format the code
	cargo fmt --all

doc: ## the crates' documentation, in target/doc
	cargo doc --locked --workspace --no-deps

bench: ## the largest page, a large inventory, our CPU beside the floor, peak memory, an idle poll, cold starts and sizes
	cargo run --release --locked -p tests --bin bench

soak: ## the fault run over 20,000 seeds
	MUSTER_FAULT_SEEDS=20000 cargo test --release --locked -p tests --test fault

clean: ## remove what was built
	cargo clean

include infra/aws/aws.mk
