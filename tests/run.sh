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
# Each test a process, the long ones first, a few beside each other (.config/nextest.toml). Benchmarks
# are checked above and not built. Whole-product tests start the program itself, which no test of
# another package builds; all in one command, so that no processor waits for the largest crate alone.
what=(--workspace --lib --bins --tests --features fault --locked)
say build
cargo build "${what[@]}" --quiet
if cargo nextest --version >/dev/null 2>&1; then
  say test
  cargo nextest run "${what[@]}" --cargo-quiet --no-fail-fast
else
  say "test (cargo install cargo-nextest --locked makes this faster)"
  cargo test "${what[@]}" --no-fail-fast -- --test-threads=2
fi
say finished
