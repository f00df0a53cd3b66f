#!/bin/sh
# Measures `auto` beside fixed numbers of streams: over loopback, or over a path of 100 ms round
# trip, 0.1% loss and 300 Mbit/s. tools/wanem.c makes that path between two network namespaces.
#
#   scripts/bench/auto.sh WHERE ROUNDS MIB NUMBER...
#
# WHERE is loopback, reno or bbr. The last two are the long path with that congestion control, and
# need root. In each round, auto and each NUMBER fetch a file of MIB mebibytes once. A transfer has
# to take at least 60 s: 2200 MiB on the long path, and over loopback more than fits into memory.
# The programs are those that `make` has left here, or those in $BIN. OPTIONS are the client's
# (default: --verify crc32c on the long path). The script makes the file in a folder of $FROM
# (default: /dev/shm), or uses $FILE and ignores MIB. The output is in a folder of $OUT (default:
# /var/tmp), or goes to /dev/null if OUT is -.
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
[ $# -ge 4 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d'; exit 2; }
where=$1 rounds=$2 size=$3
shift 3
bin=${BIN:-.}
make_folder "${FROM:-/dev/shm}"
case ${OUT:-/var/tmp} in
-) out=- ;;
*) out=$(mktemp -d "${OUT:-/var/tmp}/ropewalk-auto.XXXXXX") ;;
esac
clean_up_too() { [ "$out" = - ] || rm -rf "$out"; }

case $where in
loopback)
    address=127.0.0.1 in_a='' in_b=''
    options=${OPTIONS-}
    ;;
reno | bbr)
    long_path 50 0.1 300
    congestion_control "$where" 2>/dev/null || skip "$where is not in this kernel"
    address=10.77.0.1
    options=${OPTIONS---verify crc32c}
    ;;
*) echo "$script: $where is not loopback, reno or bbr" >&2; exit 2 ;;
esac
file=${FILE:-$folder/file}
[ -n "${FILE:-}" ] || head -c $((size << 20)) /dev/urandom >"$file"
# shellcheck disable=SC2086 # words, or none
start_server $in_a "$bin/server" -q --bind "$address" 0

fetch() { # fetch NUMBER: fetches once and notes the milliseconds
    number=$1
    # shellcheck disable=SC2086 # options are words
    set -- $in_b "$bin/client" $options "$address" "$number" "$file"
    begun=$(now)
    if [ "$out" = - ]; then
        "$@" - 2>"$folder/said" >/dev/null
    else
        rm -f "$out/file"
        "$@" "$out/file" >"$folder/said"
    fi
    took=$(since "$begun")
    echo "$took" >>"$folder/times-$number"
    printf '%6s  %7d ms  load %s  %s\n' "$number" "$took" "$(cut -d' ' -f1 /proc/loadavg)" \
        "$(tail -n 1 "$folder/said")"
}

echo "$where, $size MiB, $rounds rounds"
round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    for number in auto "$@"; do fetch "$number"; done
done
auto=$(median auto)
for number in auto "$@"; do
    median=$(median "$number")
    awk -v number="$number" -v median="$median" -v auto="$auto" 'BEGIN {
        printf "median of %6s: %7d ms; auto takes %.2f of it\n", number, median, auto / median
    }'
done
