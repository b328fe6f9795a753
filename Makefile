.PHONY: demo test build data epochs bench simulate mutants model chaos fuzz assurance lint setup

# The whole story on this machine: four agencies, permits and money. ARGS=--once runs it unattended.
demo:
	scripts/demo $(ARGS)

test:
	scripts/test

# The programs for use, in target/dist, as fast as they get here. ARGS=--plain: sooner, and the same from the same source.
build:
	scripts/build $(ARGS)

# The real data sets through real networks, the largest in both modes and twice; `make test` has the shorter form.
data:
	scripts/setup
	scripts/with-rocksdb cargo build --workspace --bins
	MINGZHANG_DATA_FULL=1 scripts/with-rocksdb cargo test --workspace --test it real_data -- --nocapture

# The authority set over five, seven, six and back to four members, with kills at each boundary; `make test` has the shorter form.
epochs:
	scripts/setup
	scripts/with-rocksdb cargo build --workspace --bins
	MINGZHANG_EPOCHS_LONG=1 scripts/with-rocksdb cargo test --workspace --test it the_set_grows -- --nocapture

# Speed on this machine; writes target/bench. ARGS are handed on.
bench:
	scripts/bench $(ARGS)

# Pretended worlds under faults, by so many seeds: the consensus alone, and whole nodes over the real ledger; and the
# messages against the paper.
SEEDS ?= 100000
NODE_SEEDS ?= 1000
simulate:
	scripts/simulate seeds $(SEEDS) --json target/assurance/simulation.json
	scripts/simulate nodes seeds $(NODE_SEEDS) --json target/assurance/nodes.json
	scripts/simulate traffic 12 --json target/assurance/traffic.json

# Deliberate faults: each must be caught.
mutants:
	scripts/mutants

# Small worlds, explored completely.
model:
	scripts/model all --json target/assurance/model.json

# Real processes under fire: killed, stopped, slowed, cut off, with wrong clocks and full disks. ARGS are handed on.
chaos:
	scripts/chaos $(ARGS)

# Every decoder, verifier and importer, and the consensus core, on bytes without end: so many seconds each.
SECONDS ?= 20
fuzz:
	SECONDS_EACH=$(SECONDS) scripts/fuzz $(ARGS)

# docs/ASSURANCE.md from what those above wrote.
assurance:
	scripts/simulate assurance

lint:
	scripts/setup
	cargo fmt --all --check
	scripts/with-rocksdb cargo clippy --workspace --all-targets -- -D warnings

setup:
	scripts/setup
