# `make demo` and `make test` set up what they need by themselves, on Debian as root or with sudo.

.DEFAULT_GOAL := demo
HOST = $(shell rustc -vV | sed -n 's/^host: //p')

.PHONY: demo docs test test-servers soak bench bench-load bench-storm pgo fuzz mutants build-tools bench-tools test-tools pgo-tools fuzz-tools mutants-tools server-tools lint

# Runs the gateway with a calculator and a postbox to try it.
demo: build-tools
	cargo run --locked -- demo

# Everything that must hold before a change lands. Most of what `gateway` tests waits, for a time to pass or a browser, so that more of it
# can run at once than there are processors; the others want the machine for themselves.
ALONE := $(filter-out gateway servers,$(notdir $(patsubst %/main.rs,%,$(wildcard tests/*/main.rs))))
test: test-tools lint
	RUST_TEST_THREADS=4 cargo test --locked --test gateway
	cargo test --locked --package vtnr-gateway-domain --package vtnr-gateway-demo --lib
	cargo test --locked --lib --bins $(ALONE:%=--test %)

# The guard before real servers whose packages are large.
test-servers: server-tools
	cargo test --locked --test servers

# What judging a request costs, what the gateway itself does for one and what Pingora does beside, what sessions in memory take, and how
# long an ended one lives on.
bench: bench-tools
	cargo bench --locked --bench guard --bench hot_path --bench pingora_costs --bench sessions --bench revocation

# What the gateway costs beside what an operator would build instead: takes the machine for itself for forty minutes or so. Where
# `make pgo` was run before, the gateway that it built takes part too.
LOAD ?=
bench-load: bench-tools
	cargo build --locked --profile bench --package vtnr-gateway-load --bin load
	cargo build --locked --release --bin vtnr-gateway
	cargo build --locked --release --package vtnr-gateway-load --bin load-peer --bin load-peer-mimalloc
	ulimit -n $$(ulimit -Hn) || true; target/release/load $(LOAD)

# A gateway whose code is laid out for what it does all day: built once to see what that is, used as brokers do, and built again.
# CPU=x86-64-v3 builds it for processors with AVX2 alone.
CPU ?=
PGO := target/pgo
PGO_PROFILE := $(CURDIR)/$(PGO)/gateway.profdata
PGO_CPU := $(if $(CPU),-Ctarget-cpu=$(CPU))
PGO_BUILD = cargo build --locked --release --bin vtnr-gateway --target $(HOST)
pgo: bench-tools pgo-tools
	rm -rf $(PGO)/raw
	cargo build --locked --profile bench --package vtnr-gateway-load --bin load
	RUSTFLAGS="-Cprofile-generate=$(CURDIR)/$(PGO)/raw $(PGO_CPU)" $(PGO_BUILD) --target-dir $(PGO)/seen
	target/release/load --train $(PGO)/seen/$(HOST)/release/vtnr-gateway
	$$(.ci/tools profdata) merge -o $(PGO_PROFILE) $(PGO)/raw
	RUSTFLAGS="-Cprofile-use=$(PGO_PROFILE) $(PGO_CPU)" $(PGO_BUILD) --target-dir $(PGO)/led
	install $(PGO)/led/$(HOST)/release/vtnr-gateway target/release/vtnr-gateway-pgo$(CPU:%=-%)

# Ten thousand sign-ins within five minutes; STORM="--brokers 1000 --minutes 0.5" is a shorter storm, and STORM=--growth tells what
# things cost as they grow. Some thousand connections are open at once.
STORM ?=
bench-storm: bench-tools
	ulimit -n $$(ulimit -Hn) || true; cargo bench --locked --bench storm -- $(STORM)

# Looks for requests that the guard lets pass and some server would run as the Antragsversand; FUZZ_SECONDS says how long. What leads
# through new code is added to the corpus, which `make test` replays. A find is in target/fuzz/crash-*: it belongs to the corpus too.
FUZZ_SECONDS ?= 60
FUZZ := cd tests/fuzz && CARGO_TARGET_DIR=../../target/fuzz
# What cargo-fuzz asks for with `--sanitizer none`: the coverage that libFuzzer is led by, all of it in the stable compiler.
COVERAGE := --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
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

# Changes the rules one by one and reports the changes that no unit test beside them notices. SHARD=0/1 tries all of them, which takes
# hours; the default is a sample.
SHARD ?= 0/20
MUTANTS := PATH="$(CURDIR)/target/tools/bin:$$PATH" cargo mutants --sharding round-robin --output target/mutants --shard $(SHARD)
mutants: mutants-tools
	$(MUTANTS) --package vtnr-gateway-domain -- --lib
	$(MUTANTS) --package vtnr-gateway -- --lib -- gateway::admission gateway::request gateway::upstream::header_policy sign_in store::vault

# Half an hour of brokers at three gateways while all that can fail does, at random from a seed; `make test` runs a minute of it.
# SOAK_SEED=… repeats what was done.
soak: test-tools
	SOAK_SECONDS=$${SOAK_SECONDS:-1800} cargo test --locked --test soak -- --nocapture

# Writes the tables of the handbook that come from the code and from the example of a configuration.
docs:
	UPDATE_DOCS=1 cargo test --locked --test tidy generated

lint: build-tools
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

# What building takes besides Rust and a C compiler.
build-tools:
	@.ci/tools build

bench-tools: build-tools
	@.ci/tools bench

mutants-tools: build-tools
	@.ci/tools mutants

pgo-tools:
	@.ci/tools pgo

fuzz-tools:
	@.ci/tools fuzz

# What the tests take besides: real parts to test with.
test-tools:
	@.ci/tools test

server-tools: build-tools
	@.ci/tools servers
