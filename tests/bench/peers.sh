#!/usr/bin/env bash
# Unpacks the redis_exporter of the next Debian (1.69) into .tools/peers, beside the one this machine has;
# installs nothing. Prints the program's path; says on stderr why there is none, and that is no failure:
# the figures against it are then left out.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=$PWD/.tools/peers
program=$dir/root/usr/bin/prometheus-redis-exporter

none() { echo "peers.sh: no current redis_exporter: $*" >&2; exit 0; }

if [ ! -x "$program" ]; then
  command -v apt-get >/dev/null && command -v dpkg >/dev/null || none "this is no Debian or Ubuntu"
  # The mirror this machine uses, with the newer suite.
  mirror=$(grep -rhoE '^(URIs:|deb) +\S*debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null |
    grep -oE 'https?://\S+' | grep -v security | head -1 || true)
  [ -n "$mirror" ] || none "no Debian mirror in the apt sources"
  mkdir -p "$dir/lists/partial" "$dir/debs"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$dir/sources.list"
  options=(-qq -o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::Lists=$dir/lists" -o "APT::Sandbox::User=$(id -un)" -o Debug::NoLocking=1)
  apt-get "${options[@]}" update >&2 || none "the package list cannot be fetched"
  (cd "$dir/debs" && rm -f ./*.deb && apt-get "${options[@]}" download prometheus-redis-exporter >&2) ||
    none "the package cannot be fetched"
  dpkg -x "$dir"/debs/*.deb "$dir/root"
fi
"$program" --version >/dev/null 2>&1 || none "it does not start"
echo "$program"
