#!/bin/sh
# The peak of the anonymous memory of all four programs during a fetch over 4 streams, and during a
# fetch over 255.
#
#   scripts/bench/memory.sh ADDRESS FILE OUT SERVER_PID
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
address=$1 file=$2 out=$3 server=$4

# anonymous PID: KiB now. VmHWM would be a peak, but it also counts pages of files.
anonymous() { awk '/^RssAnon:/ { print $2 }' "/proc/$1/status" 2>/dev/null || echo 0; }
larger() { [ "${2:-0}" -gt "$1" ] 2>/dev/null && echo "$2" || echo "$1"; }

for streams in 4 255; do
    s=0 c=0 sender=0 receiver=0
    rm -f "$out"
    ./client -q --restart "$address" "$streams" "$file" "$out" &
    client=$!
    while kill -0 "$client" 2>/dev/null; do
        s=$(larger "$s" "$(anonymous "$server")")
        c=$(larger "$c" "$(anonymous "$client")")
        sender=$(larger "$sender" "$(anonymous "$(child "$server")")")
        receiver=$(larger "$receiver" "$(anonymous "$(child "$client")")")
    done
    wait "$client"
    echo "anonymous memory over $streams streams, KiB: server $s, client $c, sender $sender, receiver $receiver"
done
