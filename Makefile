# `make demo` and `make test` set up what they need by themselves, on Debian as root or with sudo.

.DEFAULT_GOAL := demo
# A test that cannot go on should say so at once.
TEST_MAY := -A clippy::unwrap_used -A clippy::expect_used -A clippy::panic -A clippy::indexing_slicing -A clippy::disallowed_methods

.PHONY: demo test bench fuzz build-tools bench-tools test-tools fuzz-tools lint

# Runs the gateway with a calculator and a postbox to try it.
demo: build-tools
	cargo run --locked -- demo

# Everything that must hold before a change lands.
test: test-tools lint
	cargo test --locked

# What judging a request costs, what the gateway itself does for one, what sessions in memory take, and how long an ended one lives on.
bench: bench-tools
	cargo bench --locked --bench guard --bench hot_path --bench sessions --bench revocation

# Looks for requests that the guard lets pass and some server would run as the Antragsversand; FUZZ_SECONDS says how long. What leads
# through new code is added to the corpus, which `make test` replays. A find is in target/fuzz/crash-*: it belongs to the corpus too.
FUZZ_SECONDS ?= 60
FUZZ := cd tests/fuzz && CARGO_TARGET_DIR=../../target/fuzz
# What cargo-fuzz asks for with `--sanitizer none`: the coverage that libFuzzer is led by, all of it in the stable compiler.
COVERAGE := --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
fuzz: fuzz-tools
	$(FUZZ) cargo build --locked --release --bin corpus
	$(FUZZ) RUSTFLAGS="$(COVERAGE)" cargo build --locked --release --target $(HOST) --bin guard
	rm -rf target/fuzz/corpus target/fuzz/kept
	target/fuzz/release/corpus unpack tests/fuzz/corpus.txt target/fuzz/corpus
	target/fuzz/release/corpus unpack tests/fuzz/corpus.txt target/fuzz/kept
	cd target/fuzz && $(HOST)/release/guard -max_total_time=$(FUZZ_SECONDS) -max_len=160 -timeout=5 -rss_limit_mb=1024 \
		-dict=../../tests/fuzz/guard.dict -print_final_stats=1 -verbosity=1 corpus
	cd target/fuzz && $(HOST)/release/guard -merge=1 -use_counters=0 -max_len=160 kept corpus
	target/fuzz/release/corpus pack target/fuzz/kept tests/fuzz/corpus.txt

lint: build-tools
	cargo fmt --check
	cargo clippy --locked --lib --bins -- -D warnings
	cargo clippy --locked --tests --benches -- -D warnings $(TEST_MAY)

# What building takes besides Rust and a C compiler.
build-tools:
	@.ci/tools build

bench-tools:
	@.ci/tools bench

fuzz-tools:
	@.ci/tools fuzz

# What the tests take besides: real parts to test with.
test-tools:
	@.ci/tools test
