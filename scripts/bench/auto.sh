#!/bin/sh
# Measures `auto` beside fixed numbers of streams: over loopback, and over a path of 100 ms
# round trip, 0.1% loss and 300 Mbit/s, made by wanem between two network namespaces.
#
#   scripts/bench/auto.sh WHERE ROUNDS MIB NUMBER...
#
# WHERE is loopback, reno or bbr; the last two are the long path with that congestion
# control, and need root. In each round auto and each NUMBER fetch a file of MIB mebibytes
# once. A transfer has to take 60 s at least: 2200 MiB on the long path; over loopback more
# than fits into memory. The programs are those that `make` has left here, or those in $BIN;
# OPTIONS are the client's (default: --verify crc32c on the long path). The file is made in a
# folder of $FROM (default: /dev/shm), or it is $FILE, whatever MIB says; the output is in a
# folder of $OUT (default: /var/tmp), or goes to /dev/null where that is -. WANEM names wanem's
# source.
set -eu
cd "$(dirname "$0")/../.."
[ $# -ge 4 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d'; exit 2; }
where=$1 rounds=$2 size=$3
shift 3
bin=${BIN:-.}
folder=$(mktemp -d "${FROM:-/dev/shm}/ropewalk-auto.XXXXXX")
case ${OUT:-/var/tmp} in
-) out=- ;;
*) out=$(mktemp -d "${OUT:-/var/tmp}/ropewalk-auto.XXXXXX") ;;
esac
here=ropewalk-$$-a
there=ropewalk-$$-b
running=
clean_up() {
    for pid in $running; do kill "$pid" 2>/dev/null || true; done
    ip netns del "$here" 2>/dev/null || true
    ip netns del "$there" 2>/dev/null || true
    rm -rf "$folder"
    [ "$out" = - ] || rm -rf "$out"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

case $where in
loopback)
    address=127.0.0.1
    options=${OPTIONS-}
    in_a() { "$@"; }
    in_b() { "$@"; }
    ;;
reno | bbr)
    source=${WANEM:-../shared/tools/wanem.c}
    [ -f "$source" ] || { echo "skipped: no wanem at $source"; exit 0; }
    [ "$(id -u)" = 0 ] || { echo "skipped: network namespaces need root"; exit 0; }
    address=10.77.0.1
    options=${OPTIONS---verify crc32c}
    in_a() { ip netns exec "$here" "$@"; }
    in_b() { ip netns exec "$there" "$@"; }
    cc -O2 -pthread -o "$folder/wanem" "$source"
    ip netns add "$here"
    ip netns add "$there"
    # What is a wire otherwise is not to wait for a processor.
    nice -n -15 "$folder/wanem" "$here" "$there" 50 0.1 300 2>"$folder/wanem.log" &
    running="$running $!"
    until grep -qs ' up: ' "$folder/wanem.log"; do sleep 0.1; done
    for run in in_a in_b; do
        # What an earlier connection learned is not used.
        $run sysctl -qw "net.ipv4.tcp_congestion_control=$where" net.ipv4.tcp_no_metrics_save=1
    done
    ;;
*) echo "bench-auto: $where is not loopback, reno or bbr" >&2; exit 2 ;;
esac
file=${FILE:-$folder/file}
[ -n "${FILE:-}" ] || head -c $((size << 20)) /dev/urandom >"$file"
mkfifo "$folder/ready"
in_a "$bin/server" -q --bind "$address" 0 >"$folder/ready" 2>/dev/null &
running="$running $!"
read -r line <"$folder/ready"
address=${line#listening on }

now() { date +%s%N; }
once() { # once NUMBER: one fetch; its milliseconds are noted
    number=$1
    # shellcheck disable=SC2086 # options are words
    set -- "$bin/client" $options "$address" "$number" "$file"
    begun=$(now)
    if [ "$out" = - ]; then
        in_b "$@" - 2>"$folder/said" >/dev/null
    else
        rm -f "$out/file"
        in_b "$@" "$out/file" >"$folder/said"
    fi
    took=$((($(now) - begun) / 1000000))
    echo "$took" >>"$folder/times-$number"
    printf '%6s  %7d ms  load %s  %s\n' "$number" "$took" "$(cut -d' ' -f1 /proc/loadavg)" \
        "$(tail -n 1 "$folder/said")"
}
median() { sort -n "$folder/times-$1" | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'; }

echo "$where, $size MiB, $rounds rounds"
round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    for number in auto "$@"; do once "$number"; done
done
auto=$(median auto)
for number in auto "$@"; do
    median=$(median "$number")
    awk -v number="$number" -v median="$median" -v auto="$auto" 'BEGIN {
        printf "median of %6s: %7d ms; auto takes %.2f of it\n", number, median, auto / median
    }'
done
