#!/bin/sh
# The programs of `make static` need nothing: they fetch a file in a root folder that holds
# them and that file, and no more. With /etc/hosts they know names.
set -eu
cd "$(dirname "$0")/../.."
if chroot / true 2>/dev/null; then
    within="chroot"
elif unshare -r chroot / true 2>/dev/null; then
    within="unshare -r chroot"
else
    echo "no root folder to be had, so the static programs were not tried"
    exit 0
fi
folder=$(mktemp -d)
server=
clean_up() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# The optimiser takes most of a build and shows nothing here.
CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    make --no-print-directory static STATIC="$folder/root" STATIC_BUILD="$folder/build" \
    >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }
root=$folder/root
[ "$(find "$root" -type f | wc -l)" = 4 ]
cp Cargo.lock "$root/file"
mkfifo "$folder/ready"
$within "$root" /server --bind 127.0.0.1 0 >"$folder/ready" 2>"$folder/errors" &
server=$!
read -r line <"$folder/ready" || { cat "$folder/errors" >&2; exit 1; }
address=${line#listening on }
$within "$root" /client -q "$address" 4 file /by-number
cmp Cargo.lock "$root/by-number"
mkdir "$root/etc"
echo "127.0.0.1 box" >"$root/etc/hosts"
$within "$root" /client -q "box:${address##*:}" 4 file /by-name
cmp Cargo.lock "$root/by-name"
