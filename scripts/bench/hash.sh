#!/bin/sh
# Compares the speed of our MD5 with md5sum's. Both read the same 1 GiB file in memory, in turn,
# five times each. Prints both medians, and our speed as a fraction of md5sum's: more than 1 is
# faster. Fails if the digests differ. Needs 1 GiB free in /dev/shm, and an otherwise idle machine.
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
runs=5
size=1073741824

bench=$(${CARGO:-cargo} bench --quiet --bench hash --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\/hash-[^"]*\)".*/\1/p' | tail -n 1)
[ -x "$bench" ] || fail "the bench was not built"

make_folder /dev/shm
head -c "$size" /dev/urandom >"$folder/data"

run=0
while [ "$run" -lt "$runs" ]; do
    once md5sum md5sum "$folder/data"
    theirs=$(cut -c 1-32 "$folder/said")
    once ours "$bench" --file "$folder/data"
    [ "$(cut -c 1-32 "$folder/said")" = "$theirs" ] || fail "the digests differ"
    run=$((run + 1))
done

awk -v theirs="$(median md5sum)" -v ours="$(median ours)" -v size="$size" 'BEGIN {
    theirs /= 1000; ours /= 1000
    printf "md5sum  %.3f s  %.3f GB/s\n", theirs, size / theirs / 1e9
    printf "ours    %.3f s  %.3f GB/s\n", ours, size / ours / 1e9
    printf "ratio   %.2f\n", theirs / ours
}'

# All hashes, accelerated and not, in GB/s.
"$bench"
