.PHONY: demo test bench lint setup

# The whole story on this machine: four agencies, permits and money. ARGS=--once runs it unattended.
demo:
	scripts/demo $(ARGS)

test:
	scripts/test

# Speed on this machine; writes target/bench. ARGS are handed on.
bench:
	scripts/bench $(ARGS)

lint:
	scripts/setup
	cargo fmt --all --check
	scripts/with-rocksdb cargo clippy --workspace --all-targets -- -D warnings

setup:
	scripts/setup
