#!/bin/sh
# Measures ropewalk over a long path: 100 ms round trip, 0.1% loss, 300 Mbit/s, made by
# wanem between two network namespaces of its own. Root only.
#
#   scripts/bench/wan.sh [ROUNDS]
#
# WANEM names wanem's source; without it, where the project keeps its tools. iperf3 is
# what BBR is compared with, and is skipped where it is not installed.
set -eu
cd "$(dirname "$0")/../.."
rounds=${1:-5}
source=${WANEM:-../shared/tools/wanem.c}
[ -f "$source" ] || { echo "skipped: no wanem at $source"; exit 0; }
[ "$(id -u)" = 0 ] || { echo "skipped: network namespaces need root"; exit 0; }
folder=$(mktemp -d /dev/shm/ropewalk-wan.XXXXXX)
here=ropewalk-$$-a
there=ropewalk-$$-b
running=
clean_up() {
    for pid in $running; do kill "$pid" 2>/dev/null || true; done
    ip netns del "$here" 2>/dev/null || true
    ip netns del "$there" 2>/dev/null || true
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

cc -O2 -pthread -o "$folder/wanem" "$source"
ip netns add "$here"
ip netns add "$there"
"$folder/wanem" "$here" "$there" 50 0.1 300 2>"$folder/wanem.log" &
running="$running $!"
until grep -q ' up: ' "$folder/wanem.log"; do sleep 0.1; done
head -c $((8 << 20)) /dev/urandom >"$folder/8"
head -c $((160 << 20)) /dev/urandom >"$folder/160"
in_a() { ip netns exec "$here" "$@"; }
in_b() { ip netns exec "$there" "$@"; }
control() { # control NAME: congestion control in both namespaces
    in_a sysctl -qw "net.ipv4.tcp_congestion_control=$1"
    in_b sysctl -qw "net.ipv4.tcp_congestion_control=$1"
    for run in in_a in_b; do # what an earlier connection learned is not used
        $run sysctl -qw net.ipv4.tcp_no_metrics_save=1
    done
}
mkfifo "$folder/ready"
in_a ./server -q --bind 10.77.0.1 0 >"$folder/ready" 2>/dev/null &
running="$running $!"
read -r line <"$folder/ready"
address=${line#listening on }
now() { date +%s%N; }
once() {
    name=$1
    shift
    rm -f "$folder/out"
    begun=$(now)
    "$@" >"$folder/said" 2>&1 || { cat "$folder/said" >&2; exit 1; }
    echo $((($(now) - begun) / 1000000)) >>"$folder/times-$name"
}
median() { sort -n "$folder/times-$1" | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'; }
ratio() { awk -v a="$(median "$1")" -v b="$(median "$2")" 'BEGIN { printf "%.2f", a / b }'; }
show() { printf '%-24s %6d ms   (%s)\n' "$1" "$(median "$1")" "$(tr '\n' ' ' <"$folder/times-$1")"; }

echo "100 ms round trip, 0.1% loss, 300 Mbit/s; $rounds rounds; medians"
control reno
round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    once reno-1-stream in_b ./client "$address" 1 "$folder/8" "$folder/out"
    once reno-8-streams in_b ./client "$address" 8 "$folder/8" "$folder/out"
    cmp "$folder/8" "$folder/out"
done
show reno-1-stream
show reno-8-streams
echo "Reno, 8 MiB: 1 stream takes $(ratio reno-1-stream reno-8-streams) times as long as 8 (wanted: at least 2)"

if ! control bbr 2>/dev/null; then
    echo "skipped: BBR is not in this kernel"
    exit 0
fi
if ! command -v iperf3 >/dev/null; then
    echo "skipped: iperf3 is not installed"
    exit 0
fi
in_a iperf3 -s -B 10.77.0.1 >/dev/null 2>&1 &
running="$running $!"
sleep 1
round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    once bbr-8-streams in_b ./client "$address" 8 "$folder/160" "$folder/out"
    cmp "$folder/160" "$folder/out"
    once bbr-iperf3 in_b iperf3 -c 10.77.0.1 -P 8 -R -n $((160 << 20))
done
show bbr-8-streams
show bbr-iperf3
echo "BBR, 160 MiB, 8 streams: $(ratio bbr-iperf3 bbr-8-streams) of iperf3's rate (wanted: at least 0.85)"
