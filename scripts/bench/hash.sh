#!/bin/sh
# Compares the speed of our MD5 with md5sum's: both read the same 1 GiB file in
# memory, in turn, five times each. Prints both medians and their ratio (ours as
# a fraction of md5sum's speed: 1 is as fast, more is faster). Fails if the
# digests differ. Needs 1 GiB free in /dev/shm, and nothing else running.
set -eu

cd "$(dirname "$0")/../.."
runs=5
size=1073741824

bench=$(${CARGO:-cargo} bench --quiet --bench hash --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\/hash-[^"]*\)".*/\1/p' | tail -n 1)
[ -x "$bench" ] || { echo "bench/hash: the bench was not built" >&2; exit 1; }

work=$(mktemp -d /dev/shm/bench-hash.XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
head -c "$size" /dev/urandom >"$work/data"

# timed NAME COMMAND...: runs it and adds its seconds to the file NAME.
timed() {
    name=$1
    shift
    start=$(date +%s.%N)
    "$@" >"$work/$name.digest"
    end=$(date +%s.%N)
    echo "$start $end" | awk '{ printf "%.4f\n", $2 - $1 }' >>"$work/$name"
}

# median NAME: the middle one of its seconds.
median() {
    sort -n "$work/$1" | sed -n "$(((runs + 1) / 2))p"
}

run=0
while [ "$run" -lt "$runs" ]; do
    timed md5sum md5sum "$work/data"
    timed ours "$bench" --file "$work/data"
    if [ "$(cut -c 1-32 "$work/md5sum.digest")" != "$(cut -c 1-32 "$work/ours.digest")" ]; then
        echo "bench/hash: the digests differ" >&2
        exit 1
    fi
    run=$((run + 1))
done

awk -v theirs="$(median md5sum)" -v ours="$(median ours)" -v size="$size" 'BEGIN {
    printf "md5sum  %.3f s  %.3f GB/s\n", theirs, size / theirs / 1e9
    printf "ours    %.3f s  %.3f GB/s\n", ours, size / ours / 1e9
    printf "ratio   %.2f\n", theirs / ours
}'

# All hashes, accelerated and not, in GB/s.
"$bench"
