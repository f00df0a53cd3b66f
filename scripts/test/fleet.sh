#!/bin/sh
# The guide's recipe for many boxes brings one file to each of them: each box is a network
# namespace with a server of its own. Then one server brings it to all, for comparison.
#
#   scripts/test/fleet.sh [MIB [BOXES [RATE]]]     2 MiB, 6 boxes, no limit of the rate
#
# RATE is what each server may send (--limit-rate), in place of a link's own limit.
set -eu
cd "$(dirname "$0")/../.."
export ROPEWALK_CLIENT="$PWD/client"
mib=${1:-2} boxes=${2:-6} rate=${3:-}
[ "$(id -u)" = 0 ] && command -v ip >/dev/null && command -v shuf >/dev/null ||
    { echo "not tried: needs root, ip and shuf"; exit 0; }
folder=$(mktemp -d)
name=rw$$
clean_up() {
    for pid in $(cat "$folder"/pid.* 2>/dev/null); do kill "$pid" 2>/dev/null || true; done
    wait
    for number in $(seq 0 "$boxes"); do ip netns delete "$name-$number" 2>/dev/null || true; done
    ip netns delete "$name-hub" 2>/dev/null || true
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

ip netns add "$name-hub" 2>/dev/null || { echo "not tried: no network namespaces here"; exit 0; }
ip -n "$name-hub" link add bridge type bridge 2>/dev/null || { echo "not tried: no bridges here"; exit 0; }
ip -n "$name-hub" link set bridge up

# box NUMBER: a namespace on the bridge, and a server in it. Number 0 is the origin.
box() {
    ip netns add "$name-$1"
    ip -n "$name-$1" link add eth0 type veth peer name "box$1" netns "$name-hub"
    ip -n "$name-hub" link set "box$1" master bridge up
    ip -n "$name-$1" address add "10.99.0.$(($1 + 1))/24" dev eth0
    ip -n "$name-$1" link set eth0 up
    ip -n "$name-$1" link set lo up
    mkdir -p "$folder/box$1"
    mkfifo "$folder/ready$1"
    # shellcheck disable=SC2086
    ip netns exec "$name-$1" ./server -q --root "$folder/box$1" --max-transfers "$2" \
        ${rate:+--limit-rate "$rate"} 8080 >"$folder/ready$1" 2>>"$folder/log" &
    echo $! >"$folder/pid.$1"
    read -r _ <"$folder/ready$1"
    rm "$folder/ready$1"
}

# on_all COMMAND...: runs it on all boxes but the origin at once, with the box's folder behind it;
# answers the milliseconds that it took.
on_all() {
    begun=$(date +%s%N)
    fetching=
    for number in $(seq 1 "$boxes"); do
        ip netns exec "$name-$number" "$@" "$folder/box$number/" >>"$folder/said" 2>&1 &
        fetching="$fetching $!"
    done
    for pid in $fetching; do wait "$pid" || { cat "$folder/said" "$folder/log" >&2; exit 1; }; done
    echo $((($(date +%s%N) - begun) / 1000000))
}

compare_and_remove() {
    for number in $(seq 1 "$boxes"); do
        cmp "$folder/box0/image" "$folder/box$number/image"
        rm "$folder/box$number/image"
    done
}

for number in $(seq 0 "$boxes"); do
    box "$number" 2
    echo "10.99.0.$((number + 1)):8080" >>"$folder/peers"
done
head -c $((mib << 20)) /dev/urandom >"$folder/box0/image"

spread=$(on_all env PEERS="$folder/peers" sh -c 'packaging/fleet/ropewalk-spread image "$0" "$PEERS"')
from_origin=$(grep -c "from 10.99.0.1:" "$folder/said" || true)
compare_and_remove
[ "$from_origin" -lt "$boxes" ] || { echo "every box fetched from the origin" >&2; exit 1; }
if [ -n "$rate" ]; then
    # One server for all: another one at the origin, without a limit of transfers.
    mkfifo "$folder/ready"
    ip netns exec "$name-0" ./server -q --root "$folder/box0" --limit-rate "$rate" 8081 \
        >"$folder/ready" 2>>"$folder/log" &
    echo $! >"$folder/pid.alone"
    read -r _ <"$folder/ready"
    alone=$(on_all ./client -q --retry-for 600 10.99.0.1:8081 4 image)
    compare_and_remove
    echo "$mib MiB to $boxes boxes at $rate a server: $spread ms by the recipe" \
        "($from_origin of them from the origin), $alone ms from one server"
fi
