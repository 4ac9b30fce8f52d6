# `make demo` and `make test` set up what they need by themselves, on Debian as root or with sudo.

.DEFAULT_GOAL := demo
# A test that cannot go on should say so at once.
TEST_MAY := -A clippy::unwrap_used -A clippy::expect_used -A clippy::panic -A clippy::indexing_slicing -A clippy::disallowed_methods

.PHONY: demo test build-tools test-tools lint

# Runs the gateway with a calculator and a postbox to try it.
demo: build-tools
	cargo run --locked -- demo

# Everything that must hold before a change lands.
test: test-tools lint
	cargo test --locked

lint: build-tools
	cargo fmt --check
	cargo clippy --locked --lib --bins -- -D warnings
	cargo clippy --locked --tests -- -D warnings $(TEST_MAY)

# What building takes besides Rust and a C compiler.
build-tools:
	@.ci/tools build

# What the tests take besides: real parts to test with.
test-tools:
	@.ci/tools test
