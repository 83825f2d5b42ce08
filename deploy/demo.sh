#!/usr/bin/env bash
# Shows cachewarden on a real fleet, on this machine only, and leaves nothing behind.
#
#   ./deploy/demo.sh           a portal to click through; Ctrl-C ends it
#   ./deploy/demo.sh --check   the same, unattended: exit 0 only if everything was observed
#
# Needs git, a Rust toolchain and a C compiler. redis-server, prometheus and alertmanager are used
# as they are when they are on the PATH; otherwise the distribution's packages are unpacked into
# .tools (git-ignored): nothing is installed, no system service starts.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$PWD/.tools
bin=$tools/bin
mkdir -p "$bin"

die() { printf 'demo.sh: %s\n' "$*" >&2; exit 1; }

# have NAME [ALTERNATIVE]: links the program into $bin when the machine has it.
have() {
  local name=$1 found=
  [ -x "$bin/$name" ] && "$bin/$name" --version >/dev/null 2>&1 && return 0
  for candidate in "$@"; do
    found=$(PATH=$PATH:/usr/sbin:/usr/local/bin command -v "$candidate" || true)
    [ -n "$found" ] && break
  done
  [ -n "$found" ] || return 1
  # Debian's alertmanager is called prometheus-alertmanager; Mono ships another "alertmanager".
  "$found" --version >/dev/null 2>&1 || return 1
  ln -sfn "$found" "$bin/$name"
}

# apt with lists and cache of our own: needs no root and touches no system file.
apt_options=()
apt_ready() {
  [ ${#apt_options[@]} -eq 0 ] || return 0
  command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
  mkdir -p "$tools/apt/lists/partial" "$tools/apt/cache/archives/partial" "$tools/debs"
  apt_options=(-qq -o "Dir::State::Lists=$tools/apt/lists" -o "Dir::Cache=$tools/apt/cache"
    -o "APT::Sandbox::User=$(id -un)" -o Debug::NoLocking=1)
  echo "fetching the package lists"
  apt-get "${apt_options[@]}" update || die "the package lists cannot be fetched"
}

# unpack PACKAGE...: downloads and unpacks into .tools/root, with the libraries the machine lacks.
unpack() {
  apt_ready || die "missing: $*. Install it with your package manager, then run this again"
  local wanted
  # What an installation would add, libraries and the packages themselves only.
  wanted=$(apt-get "${apt_options[@]}" -s install --no-install-recommends "$@" 2>/dev/null |
    awk '/^Inst /{print $2}' | grep -E "^(lib|lua|$(echo "$@" | tr ' ' '|'))" | grep -vE '^libjs' || true)
  [ -n "$wanted" ] || wanted=$*
  echo "unpacking: $(echo "$wanted" | tr '\n' ' ')"
  # shellcheck disable=SC2086 # one word per package
  (cd "$tools/debs" && apt-get "${apt_options[@]}" download $wanted) || die "cannot download $*"
  mkdir -p "$tools/root"
  for deb in "$tools"/debs/*.deb; do dpkg -x "$deb" "$tools/root"; done
  rm -f "$tools"/debs/*.deb
}

# wrap NAME PROGRAM: a starter that finds the unpacked libraries.
wrap() {
  local libs
  libs=$(find "$tools/root" -type d -name "$(uname -m)-linux-gnu" | paste -sd:)
  # shellcheck disable=SC2016 # the wrapper expands it, not this script
  printf '#!/bin/sh\nLD_LIBRARY_PATH="%s${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "%s" "$@"\n' \
    "$libs" "$tools/root/usr/bin/$2" >"$bin/$1"
  chmod +x "$bin/$1"
  "$bin/$1" --version >/dev/null || die "$1 was unpacked but does not start"
}

have redis-server valkey-server || { unpack redis-server redis-tools; wrap redis-server redis-server; }
have prometheus || { unpack prometheus; wrap prometheus prometheus; }
have prometheus-alertmanager alertmanager || {
  unpack prometheus-alertmanager
  wrap prometheus-alertmanager prometheus-alertmanager
}
command -v cargo >/dev/null || die "missing: a Rust toolchain (https://rustup.rs)"
command -v cc >/dev/null || die "missing: a C compiler (Debian, Ubuntu: apt install gcc libc6-dev)"

echo "building the release program (the first time takes a few minutes)"
cargo build --release --locked --package cli
exec "${CARGO_TARGET_DIR:-target}/release/cachewarden" demo --engines "$bin" "$@"
