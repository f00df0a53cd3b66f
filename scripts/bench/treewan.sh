#!/bin/sh
# Measures the fetch of 50,000 files of 4 KiB in 500 folders over a long path: 100 ms round trip,
# 0.1% loss, 300 Mbit/s, with Reno and with BBR. tools/wanem.c makes the path between two network
# namespaces. Needs root, /dev/net/tun and a C compiler.
#
#   scripts/bench/treewan.sh [ROUNDS]        3 rounds
#
# An rsync daemon and tar over nc take minutes here: RIVALS=1 measures them too, once each.
# shellcheck disable=SC2086 # $in_a and $in_b are words
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
rounds=${1:-3}
make_open_folder /dev/shm
long_path 50 0.1 300
many "$folder/S" 500 100 4096
start_server $in_a ./server -q --root "$folder" --bind 10.77.0.1 0

# fetched NAME STREAMS: fetches the folder anew.
fetched() {
    rm -rf "$folder/out"
    begun=$(now)
    $in_b ./client -q "$address" "$2" S "$folder/out" >"$folder/said" 2>&1 ||
        fail "$1 failed: $(cat "$folder/said")"
    since "$begun" >>"$folder/times-$1"
    diff -r "$folder/S" "$folder/out" >/dev/null || fail "$1: the folders differ"
}

echo "50,000 files of 4 KiB; 100 ms round trip, 0.1% loss, 300 Mbit/s; $rounds rounds; medians"
for control in reno bbr; do
    congestion_control "$control" 2>/dev/null || { skipped "$control is not in this kernel"; continue; }
    round=0
    while [ "$round" -lt "$rounds" ]; do
        round=$((round + 1))
        fetched "$control-8" 8
        fetched "$control-auto" auto
    done
    begun=$(now)
    $in_b ./client -q "$address" 8 S "$folder/out"
    since "$begun" >>"$folder/times-$control-same"
    for name in "$control-8" "$control-auto" "$control-same"; do show "$name"; done
done

[ -n "${RIVALS:-}" ] || exit 0
congestion_control reno
if have rsync; then
    printf 'use chroot = no\naddress = 10.77.0.1\nport = 8730\nlog file = %s\n[sets]\npath = %s\n' \
        "$folder/rsyncd.log" "$folder" >"$folder/rsyncd.conf"
    $in_a rsync --daemon --no-detach --config="$folder/rsyncd.conf" &
    running="$running $!"
    sleep 1
    rm -rf "$folder/out"
    begun=$(now)
    $in_b rsync -a -W rsync://10.77.0.1:8730/sets/S/ "$folder/out"
    since "$begun" >>"$folder/times-reno-rsync"
    show reno-rsync
else
    skipped "rsync"
fi
