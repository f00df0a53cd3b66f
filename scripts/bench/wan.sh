#!/bin/sh
# Measures ropewalk over a long path: 100 ms round trip, 0.1% loss, 300 Mbit/s. tools/wanem.c makes
# the path between two network namespaces. Needs root, /dev/net/tun and a C compiler.
#
#   scripts/bench/wan.sh [ROUNDS]
#
# Compares BBR with iperf3, if iperf3 is installed.
# shellcheck disable=SC2086 # $in_a and $in_b are words
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
rounds=${1:-5}
make_folder /dev/shm
long_path 50 0.1 300
head -c $((8 << 20)) /dev/urandom >"$folder/8"
head -c $((160 << 20)) /dev/urandom >"$folder/160"
start_server $in_a ./server -q --bind 10.77.0.1 0

echo "100 ms round trip, 0.1% loss, 300 Mbit/s; $rounds rounds; medians"
congestion_control reno
round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    once reno-1-stream $in_b ./client "$address" 1 "$folder/8" "$folder/out"
    once reno-8-streams $in_b ./client "$address" 8 "$folder/8" "$folder/out"
    cmp "$folder/8" "$folder/out"
done
show reno-1-stream
show reno-8-streams
echo "Reno, 8 MiB: 1 stream takes $(ratio reno-1-stream reno-8-streams) times as long as 8 (wanted: at least 2)"

congestion_control bbr 2>/dev/null || skip "BBR is not in this kernel"
have iperf3 || skip "BBR: iperf3 is not installed"
$in_a iperf3 -s -B 10.77.0.1 >/dev/null 2>&1 &
running="$running $!"
sleep 1
round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    once bbr-8-streams $in_b ./client "$address" 8 "$folder/160" "$folder/out"
    cmp "$folder/160" "$folder/out"
    once bbr-iperf3 $in_b iperf3 -c 10.77.0.1 -P 8 -R -n $((160 << 20))
done
show bbr-8-streams
show bbr-iperf3
echo "BBR, 160 MiB, 8 streams: $(ratio bbr-iperf3 bbr-8-streams) of iperf3's rate (wanted: at least 0.85)"
