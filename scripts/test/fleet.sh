#!/bin/sh
# The guide's recipe for many boxes brings one file to each of them. Each box is a network namespace
# with its own server. For comparison, one server then sends the file to all boxes.
#
#   scripts/test/fleet.sh [MIB [BOXES [RATE]]]     2 MiB, 6 boxes, no limit of the rate
#
# RATE is the rate of each server (--limit-rate), in place of a link's limit.
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
export ROPEWALK_CLIENT="$PWD/client"
mib=${1:-2} boxes=${2:-6} rate=${3:-}
[ "$(id -u)" = 0 ] && have ip && have shuf || skip "needs root, ip and shuf"
make_folder
net=rw$$

ip netns add "$net-hub" 2>/dev/null || skip "no network namespaces here"
namespaces=$net-hub
ip -n "$net-hub" link add bridge type bridge 2>/dev/null || skip "no bridges here"
ip -n "$net-hub" link set bridge up

# box NUMBER: a namespace on the bridge, with a server. Number 0 is the origin.
box() {
    ip netns add "$net-$1"
    namespaces="$namespaces $net-$1"
    ip -n "$net-$1" link add eth0 type veth peer name "box$1" netns "$net-hub"
    ip -n "$net-hub" link set "box$1" master bridge up
    ip -n "$net-$1" address add "10.99.0.$(($1 + 1))/24" dev eth0
    ip -n "$net-$1" link set eth0 up
    ip -n "$net-$1" link set lo up
    mkdir -p "$folder/box$1"
    # shellcheck disable=SC2086
    start_server ip netns exec "$net-$1" ./server -q --root "$folder/box$1" --max-transfers "$2" \
        ${rate:+--limit-rate "$rate"} 8080
}

# on_all COMMAND...: runs the command for all boxes but the origin at once, with the box's folder as
# the last argument. Prints the milliseconds that it took.
on_all() {
    begun=$(now)
    fetching=
    for number in $(seq 1 "$boxes"); do
        ip netns exec "$net-$number" "$@" "$folder/box$number/" >>"$folder/said" 2>&1 &
        fetching="$fetching $!"
    done
    for pid in $fetching; do wait "$pid" || fail "$(cat "$folder/said" "$folder/server.log")"; done
    since "$begun"
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
[ "$from_origin" -lt "$boxes" ] || fail "every box fetched from the origin"
if [ -n "$rate" ]; then
    # One server for all boxes: a second server at the origin, without a limit of transfers.
    start_server ip netns exec "$net-0" ./server -q --root "$folder/box0" --limit-rate "$rate" 8081
    alone=$(on_all ./client -q --retry-for 600 10.99.0.1:8081 4 image)
    compare_and_remove
    echo "$mib MiB to $boxes boxes at $rate a server: $spread ms by the recipe" \
        "($from_origin of them from the origin), $alone ms from one server"
fi
