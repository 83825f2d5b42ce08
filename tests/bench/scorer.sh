#!/usr/bin/env bash
# What scoring and explaining a fleet of 10 000 instances costs:
#   score   S-rescore S-rollup S-explain   on one core, no server needed          1 minute
#   api     S-api-*                        explanations of every level by HTTP    5 minutes
# Without arguments both, else those named. One JSON object a figure on stdout.
set -euo pipefail
cd "$(dirname "$0")/../.."
for part in "${@:-score api}"; do
  for one in $part; do
    case "$one" in
      score)
        cargo run --quiet --release --locked --package scorer --example bench ;;
      api)
        cargo build --quiet --release --locked --package cli
        cargo run --quiet --release --locked --package tests --example explain_bench ;;
      *)
        echo "usage: $0 [score] [api]" >&2; exit 2 ;;
    esac
  done
done
