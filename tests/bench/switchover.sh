#!/usr/bin/env bash
# A master handed over under continuous writers, by us and by the servers' own commands, on real servers in
# three loopback zones:
#   sentinel  fenced switchover, and a bare SENTINEL FAILOVER      1 minute
#   plain     drained switchover of a service without Sentinels    20 seconds
#   cluster   switchover, and a bare CLUSTER FAILOVER              40 seconds
# Without arguments all of them, else those named. One JSON object a figure on stdout: acknowledged writes
# that are gone, the longest time a writer waited between two of them, and how long the old master still
# took writes after the new one was promoted. Ends with 1 when one of ours misses its bar.
# BENCH_PROFILE=release (or dev) builds faster than dist.
set -euo pipefail
cd "$(dirname "$0")/../.."
./tests/programs.sh >&2
profile=${BENCH_PROFILE:-dist}
folder=$profile
if [ "$profile" = dev ]; then folder=debug; fi
cargo build --profile "$profile" --locked --quiet --package cli
cargo build --profile "$profile" --locked --quiet --package tests --example switchover_bench
exec "${CARGO_TARGET_DIR:-target}/$folder/examples/switchover_bench" "$@"
