#!/usr/bin/env bash
# Installs what the tests need and the machine lacks. Debian 12 / Ubuntu, as root (or through sudo).
# Services the packages bring are not started: a test starts its own processes on its own ports.
set -euo pipefail

declare -A package=(
  [redis-server]=redis-server
  [redis-sentinel]=redis-sentinel
  [prometheus]=prometheus
  [promtool]=prometheus
  [prometheus-alertmanager]=prometheus-alertmanager
  [amtool]=prometheus-alertmanager
  [prometheus-redis-exporter]=prometheus-redis-exporter
  [openssl]=openssl
  [cc]=gcc
)
want=()
for program in "${!package[@]}"; do
  command -v "$program" >/dev/null || want+=("${package[$program]}")
done
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || want+=(postgresql)
[ ${#want[@]} -gt 0 ] || exit 0

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
command -v apt-get >/dev/null || {
  echo "programs.sh: missing ${want[*]}; install them (this is no Debian or Ubuntu)" >&2
  exit 1
}
echo "installing: ${want[*]}"
# policy-rc.d 101 forbids package scripts to start services.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
  "${as_root[@]}" chmod +x $policy
  trap '"${as_root[@]}" rm -f $policy' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${want[@]}" >/dev/null
