#!/bin/sh
# Measures a fetch over an older file: how many bytes move, and how long it takes beside --whole.
# One older file differs in 1% of its blocks of 64 KiB, another all over. Each round runs every case
# once, one after another, and the script compares the medians of all rounds.
#
#   scripts/bench/delta.sh [ROUNDS [MIB]]        7 rounds of 1024 MiB in /dev/shm
#
# Needs the programs of `make`, and room for five such files in /dev/shm. The server listens on
# loopback. As root, the script uses a network namespace of its own and counts all bytes on its
# loopback, in both directions and with the headers of TCP and IP.
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
rounds=${1:-7}
mib=${2:-1024}
make_folder /dev/shm

inside=
if [ "$(id -u)" = 0 ] && have ip && ip netns add "ropewalk-$$" 2>/dev/null; then
    namespaces="ropewalk-$$"
    inside="ip netns exec ropewalk-$$"
    $inside ip link set lo up
else
    skipped "the count of all bytes (needs root, iproute2 and network namespaces)"
fi
counted() { [ -z "$inside" ] || $inside awk '$1 == "lo:" { print $2 }' /proc/net/dev; }

# Every 100th block of 64 KiB differs, on average: a generator with a fixed seed chooses.
changed_blocks() {
    awk -v blocks="$((mib * 16))" 'BEGIN { srand(1)
        for (n = int(blocks / 100 + 0.5); n > 0;) {
            b = int(rand() * blocks); if (!(b in seen)) { seen[b]; print b; n-- } } }'
}
head -c $((mib << 20)) /dev/urandom >"$folder/file"
head -c $((mib << 20)) /dev/urandom >"$folder/other"
cp "$folder/file" "$folder/older"
for block in $(changed_blocks); do
    dd if=/dev/urandom of="$folder/older" bs=64k count=1 seek="$block" conv=notrunc status=none
done
start_server $inside ./server --root "$folder" --bind 127.0.0.1 0
$inside ./client -q "$address" 4 file "$folder/out"

machine
echo "$rounds rounds of $mib MiB in /dev/shm over loopback, 4 streams; medians"

# case_of NAME OLDER OPTION...: one fetch over a copy of OLDER.
case_of() {
    name=$1
    cp "$folder/$2" "$folder/basis"
    mv "$folder/basis" "$folder/target"
    touch -d 2020-01-01 "$folder/target" # else it may be up to date
    shift 2
    touch "$folder/file" # the server makes its MD5 anew
    before=$(counted)
    begun=$(now)
    $inside ./client "$address" 4 file "$folder/target" "$@" >"$folder/said" 2>&1 ||
        fail "$name failed: $(cat "$folder/said")"
    since "$begun" >>"$folder/times-$name"
    [ -z "$before" ] || echo $(($(counted) - before)) >>"$folder/moved-$name"
    cmp "$folder/file" "$folder/target"
}
round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    for verify in crc32c md5; do
        case_of "whole-$verify" older --whole --verify "$verify"
        case_of "delta-$verify" older --verify "$verify"
        case_of "new-$verify" other --verify "$verify"
    done
done

for verify in crc32c md5; do
    for name in whole delta new; do
        printf '%-13s %6d ms   (%s)\n' "$name-$verify" "$(median "$name-$verify")" \
            "$(noted "$name-$verify")"
    done
    echo "$verify: delta / --whole $(ratio "delta-$verify" "whole-$verify") (wanted: at most 2.00)"
    echo "$verify: new all over / --whole $(ratio "new-$verify" "whole-$verify") (wanted: at most 1.15)"
done
# share NAME: the largest share of the file that moved, in percent.
share() { sort -n "$folder/moved-$1" | awk -v all="$((mib << 20))" 'END { printf "%.2f", 100 * $1 / all }'; }
if [ -n "$inside" ]; then
    for name in delta-crc32c delta-md5 new-md5 whole-md5; do
        echo "$name: $(share "$name")% of the file moved, at most"
    done
    echo "(wanted for delta: at most 2.00%)"
fi
echo "load $(cut -d' ' -f1 /proc/loadavg)"
