#!/usr/bin/env bash
# Cost of judging and telling, beside Debian's Prometheus 2.42 with the same rules in the same run:
#   pass      A-pass A-windows A-memory        ten thousand instances, fifty policies    1 minute
#   delivery  A-breach A-storm*                a sink that plays Alertmanager            1 minute
#   backtest  A-backtest*                      thirty days of a thousand instances       2 minutes
#   rules     A-cpu                            ten thousand instances, twenty rules     12 minutes (ROUNDS=1: 5)
# Without arguments all of them, else those named. One JSON object a figure on stdout. Built as it is
# shipped (profile dist). That nothing is allocated while nothing changes is a test: alerter/tests/quiet.rs.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --profile dist --locked --quiet --package tests --example alerter_bench
exec target/dist/examples/alerter_bench "$@"
