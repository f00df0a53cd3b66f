#!/bin/sh
# The tarball of `make dist` builds and serves without a network and with an empty cargo home. A
# second `make dist` gives the same bytes.
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
if [ "$(git rev-parse --show-toplevel 2>/dev/null)" != "$(pwd -P)" ]; then
    skip "this is no clone, which a tarball is made of"
fi
if unshare -n true 2>/dev/null; then
    alone="unshare -n"
elif unshare -rn true 2>/dev/null; then
    alone="unshare -rn"
else
    skip "no network namespace to be had"
fi
make_folder

tarball=$(make --no-print-directory dist 2>"$folder/warnings") || fail "$(cat "$folder/warnings")"
cp "$tarball" "$folder/first"
(umask 077 && TZ=Asia/Tokyo LC_ALL=C make --no-print-directory dist >/dev/null 2>&1)
cmp "$tarball" "$folder/first"

tar -x -C "$folder" -f "$tarball"
unpacked=$folder/$(basename "$tarball" .tar.gz)
[ "$(find "$folder" -mindepth 1 -maxdepth 1 -type d)" = "$unpacked" ] || fail "more than one folder"
# The optimiser takes most of a build, and this test does not need it.
CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0
CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_HOME=$folder/cargo
export CARGO_PROFILE_RELEASE_LTO CARGO_PROFILE_RELEASE_OPT_LEVEL
export CARGO_PROFILE_RELEASE_CODEGEN_UNITS CARGO_HOME
# shellcheck disable=SC2016
$alone sh -eu -c 'cd "$1"
    make --no-print-directory >"$2/log" 2>&1 || { cat "$2/log" >&2; exit 1; }
    . scripts/lib.sh
    make_folder "$2"
    start_server ./server 8080
    [ "${address##*:}" = 8080 ]
    # A new namespace has loopback, but it is down.
    if ip link set lo up 2>/dev/null; then
        ./client -q 127.0.0.1:8080 4 Cargo.lock "$folder/out"
        cmp Cargo.lock "$folder/out"
    fi' sh "$unpacked" "$folder"
