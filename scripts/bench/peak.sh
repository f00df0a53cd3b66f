#!/bin/sh
# The most memory that each of the four programs held during a fetch of 1 GiB over 4 streams on this
# machine, with every check. The figure is VmHWM (proc(5)), which also counts pages of the programs'
# own files and of the C library. Needs 2 GiB free in /dev/shm.
#
#   scripts/bench/peak.sh [FOLDER]     where the programs are (default: the repository)
set -eu
programs=$(cd "${1:-$(dirname "$0")/../..}" && pwd)
cd "$(dirname "$0")/../.."
. scripts/lib.sh
make_folder /dev/shm

peak() { awk '/^VmHWM:/ { print $2 }' "/proc/$1/status" 2>/dev/null || true; }

head -c 1073741824 /dev/urandom >"$folder/file"
start_server "$programs/server" -q --root "$folder" --bind 127.0.0.1 0

"$programs/client" -q "$address" 4 file "$folder/out" &
client=$!
s=0 c=0 sender=0 receiver=0
while kill -0 "$client" 2>/dev/null; do
    # VmHWM never falls, so the last value counts.
    s=$(peak "$server") c=$(peak "$client" | grep . || echo "$c")
    sender=$(peak "$(child "$server")" | grep . || echo "$sender")
    receiver=$(peak "$(child "$client")" | grep . || echo "$receiver")
    sleep 0.02
done
wait "$client"
echo "peak memory, KiB: server $s, client $c, sender $sender, receiver $receiver"
