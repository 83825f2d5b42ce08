#!/usr/bin/env bash
# The whole test run: programs, format, build, clippy, unit, integration and whole-product tests.
# Everything listens on loopback, on free ports, and is stopped by the test that started it.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s (%ds)\n' "$*" "$SECONDS"; }
export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0} CARGO_TERM_COLOR=never REQUIRE_REDIS=1

say programs
./tests/programs.sh
say format
cargo fmt --all --check
say clippy
cargo clippy --workspace --all-targets --features fault --locked --quiet -- -D warnings
if command -v cargo-deny >/dev/null; then say deny; cargo deny --offline check licenses bans sources; fi
say build
cargo build --workspace --all-targets --features fault --locked --quiet
say test
# Real servers share two cores: few tests at once, so that a deadline means what it says.
cargo test --workspace --features fault --locked --no-fail-fast -- --test-threads=2
say finished
