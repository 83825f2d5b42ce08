#!/usr/bin/env bash
# Cost of watching, beside redis_exporter (Debian's 1.45, and 1.69 where peers.sh can fetch it: figures
# that end in -1.69) and a floor program of our own:
#   poll    E1 E2 E4 E5       512 targets polled every 15 s                    20 minutes
#   page    E3 E12            /scrape?target= under 32 clients; values at rest  3 minutes
#   scale   E6 E7 E11         ten thousand instances                            8 minutes
#   bad     E8                one target in ten black-holed or slow             5 minutes
#   failover D7               +switch-master to the roles on /scrape            1 minute
#   tls     E9                256 targets with TLS and ACL, and without        16 minutes
#   behind  E10               the Prometheus that scrapes us                    5 minutes
# Without arguments all of them, else those named. One JSON object a figure on stdout. Built as it is
# shipped (profile dist); BENCH_PROFILE=release builds faster and runs a little slower.
set -euo pipefail
cd "$(dirname "$0")/../.."
./tests/programs.sh >&2
PEER_CURRENT=$(./tests/bench/peers.sh)
export PEER_CURRENT
profile=${BENCH_PROFILE:-dist}
# Both at once, or what they share is built twice, with other features.
cargo build --profile "$profile" --locked --quiet -p cli -p tests --bin cachewarden --example exporter_bench
exec "${CARGO_TARGET_DIR:-target}/$profile/examples/exporter_bench" "$@"
