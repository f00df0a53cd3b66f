#!/bin/sh
# The programs of `make static` need no other file: they fetch a file in a root folder that holds
# only them and that file. With /etc/hosts they resolve names.
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
if chroot / true 2>/dev/null; then
    within="chroot"
elif unshare -r chroot / true 2>/dev/null; then
    within="unshare -r chroot"
else
    skip "no root folder to be had"
fi
make_folder

# The optimiser takes most of a build, and this test does not need it. What it has built stays for
# the next run.
CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    make --no-print-directory static STATIC="$folder/root" STATIC_BUILD=target/test-static \
    >"$folder/log" 2>&1 || fail "$(cat "$folder/log")"
root=$folder/root
[ "$(find "$root" -type f | wc -l)" = 4 ]
cp Cargo.lock "$root/file"
start_server $within "$root" /server --bind 127.0.0.1 0
$within "$root" /client -q "$address" 4 file /by-number
cmp Cargo.lock "$root/by-number"
mkdir "$root/etc"
echo "127.0.0.1 box" >"$root/etc/hosts"
$within "$root" /client -q "box:${address##*:}" 4 file /by-name
cmp Cargo.lock "$root/by-name"
