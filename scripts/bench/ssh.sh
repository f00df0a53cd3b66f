#!/bin/sh
# Measures ropewalk through ssh beside scp and rsync through ssh: over loopback, then over 100 ms round
# trip, 0.1% loss and 300 Mbit/s with Reno (tools/wanem.c, which needs root). The sshd is the script's
# own. Each round runs every tool once, one after another, and the script compares the medians.
#
#   scripts/bench/ssh.sh [ROUNDS [MIB [FILES]]]      3 rounds, a file of 1024 MiB, 50,000 files of 4 KiB
#
# On the long path the file has an 8th of MIB and the folder a tenth of FILES: logins take seconds there,
# so a smaller file measures only those. Skips what cannot be had. Needs the programs of `make`, and room
# for the file twice in /dev/shm.
# shellcheck disable=SC2086 # $ssh, $in_a and $in_b are words
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
rounds=${1:-3}
size=${2:-1024}
files=${3:-50000}
top=$PWD
have scp || skip "scp is not installed"
have python3 || skip "python3 is not installed"
rsync=
if have rsync; then rsync=1; else skipped "rsync is not installed"; fi
make_open_folder /dev/shm

# make_set FILES: the folder S, with 100 files of 4 KiB in each folder.
make_set() {
    rm -rf "$folder/S"
    many "$folder/S" $(($1 / 100)) 100 4096
}

# fetch STREAMS NAME OPTION...: through ssh.
fetch() {
    number=$1 source=$2
    shift 2
    $in_b ./client -q "$@" -e "$ssh" --remote-server "$top/server" box "$number" "$source" "$folder/out"
}

by_auto() { fetch auto "$folder/file" --verify crc32c; }
by_2() { fetch 2 "$folder/file" --verify crc32c; }
by_8() { fetch 8 "$folder/file" --verify crc32c; }
by_scp() { $in_b scp -q -F "$folder/ssh.conf" "box:$folder/file" "$folder/out"; }
by_rsync() { $in_b rsync -W -e "$ssh" "box:$folder/file" "$folder/out"; }
tree_by_auto() { fetch auto "$folder/S"; }
tree_by_2() { fetch 2 "$folder/S"; }
tree_by_8() { fetch 8 "$folder/S"; }
tree_by_rsync() { $in_b rsync -a -W -e "$ssh" "box:$folder/S/" "$folder/out"; }
by_true() { $in_b $ssh box true; }

# first_byte NAME: notes the milliseconds until the first byte of the file is there.
first_byte() {
    begun=$(now)
    $in_b ./client -q --verify crc32c -e "$ssh" --remote-server "$top/server" box 2 "$folder/file" - 2>/dev/null |
        { head -c 1 >/dev/null; since "$begun" >>"$folder/times-$1"; } || true
}

# rounds_of WHERE FUNCTION...: runs every function in each round, and notes and prints the times.
rounds_of() {
    where=$1
    shift
    round=0
    while [ "$round" -lt "$rounds" ]; do
        round=$((round + 1))
        for tool in "$@"; do
            rm -rf "$folder/out"
            once "$where-$tool" "$tool"
            case $tool in
            tree_*) diff -r "$folder/S" "$folder/out" >/dev/null || fail "$tool: contents differ" ;;
            by_true) ;;
            *) cmp "$folder/file" "$folder/out" || fail "$tool: contents differ" ;;
            esac
        done
        first_byte "$where-first_byte"
    done
    for tool in "$@" first_byte; do
        printf '%-20s %7d ms   (%s)\n' "$where-$tool" "$(median "$where-$tool")" "$(noted "$where-$tool")"
    done
}

# wanted A B GOAL: the ratio of two times, and the goal.
wanted() { echo "  $1 / $2: $(ratio "$1" "$2") (wanted: at most $3)"; }

in_a='' in_b=''
start_sshd 127.0.0.1
head -c $((size << 20)) /dev/urandom >"$folder/file"
make_set "$files"
echo "loopback, $size MiB, $files files of 4 KiB, $rounds rounds; medians; load $(cut -d' ' -f1 /proc/loadavg)"
rounds_of near by_2 by_auto by_scp ${rsync:+by_rsync} tree_by_2 tree_by_auto ${rsync:+tree_by_rsync} by_true
wanted near-by_2 near-by_scp 0.95
wanted near-by_auto near-by_2 1.10
if [ -n "$rsync" ]; then
    wanted near-by_2 near-by_rsync 0.95
    wanted near-tree_by_2 near-tree_by_rsync 0.8
    wanted near-tree_by_auto near-tree_by_rsync 0.8
fi
wanted near-first_byte near-by_true 1.5

long_path 50 0.1 300
congestion_control reno
start_sshd 10.77.0.1 $in_a
head -c $(((size << 20) / 8)) /dev/urandom >"$folder/file"
make_set $((files / 10))
echo "100 ms, 0.1% loss, Reno, $((size / 8)) MiB, a tenth of the files, $rounds rounds; medians"
rounds_of far by_8 by_auto by_scp tree_by_8 tree_by_auto ${rsync:+tree_by_rsync} by_true
wanted far-by_8 far-by_scp 0.4
[ -z "$rsync" ] || wanted far-tree_by_8 far-tree_by_rsync 0.2
wanted far-first_byte far-by_true 1.5
