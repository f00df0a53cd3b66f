#!/bin/sh
# Measures the fetch of folders beside tar over nc, an rsync daemon and cp. Each round runs every
# tool once on each set, one after another, and the script compares the medians of all rounds. After
# the first round it compares contents, modes and mtimes. Names and skips each tool that is not
# installed.
#
#   scripts/bench/tree.sh [ROUNDS [SETS]]        5 rounds of the sets "S M B E" in /dev/shm
#
#   S  50,000 files of 4 KiB in 500 folders      B  3 files of 512 MiB
#   M  a copy of the folder $TREE (/usr/share)   E  300,000 empty files in 300 folders
#
# Needs the programs of `make`, and room for two copies of a set in /dev/shm. Every server that it
# starts listens on loopback. scripts/bench/wan.sh measures a long path.
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
rounds=${1:-5}
sets=${2:-S M B E}
make_folder /dev/shm

# make_set SET: the folder of that name.
make_set() {
    mkdir "$folder/$1"
    case $1 in
    S) many "$folder/S" 500 100 4096 ;;
    E) many "$folder/E" 300 1000 0 ;;
    M) cp -a "${TREE:-/usr/share}/." "$folder/M" ;;
    B) for name in a b c; do head -c 536870912 /dev/urandom >"$folder/B/$name"; done ;;
    *) fail "there is no set $1" ;;
    esac
}

# timed NAME COMMAND...: notes the time of the command; its output folder is new.
timed() {
    name=$1
    shift
    begun=$(now)
    "$@" >"$folder/said" 2>&1 || fail "$name failed: $(cat "$folder/said")"
    since "$begun" >>"$folder/times-$name"
}

by_ropewalk() { ./client -q "$address" 4 "$set" "$folder/out"; }
by_rsync() { rsync -a -W "$rsync_url/$set/" "$folder/out"; }
by_cp() { cp -a "$folder/$set" "$folder/out"; }
by_tar() {
    port=$(free_port)
    mkdir "$folder/out"
    nc -l 127.0.0.1 "$port" | tar xp -C "$folder/out" &
    reader=$!
    until ss -Htln "sport = :$port" | grep -q .; do :; done
    tar c -C "$folder/$set" . | nc -N 127.0.0.1 "$port"
    wait "$reader"
}

# compare NAME: the output is the set. tar keeps whole seconds of an mtime.
compare() {
    diff -r --no-dereference "$folder/$set" "$folder/out" >/dev/null || fail "$1: contents differ"
    [ "$1" != tar ] || return 0
    facts "$folder/$set" >"$folder/facts-1"
    facts "$folder/out" >"$folder/facts-2"
    cmp -s "$folder/facts-1" "$folder/facts-2" || fail "$1: modes or mtimes differ"
}

# run TOOL: once, from nothing.
run() {
    rm -rf "$folder/out"
    timed "$1-$set" "by_$1"
    [ "$round" != 1 ] || compare "$1"
}

tools="ropewalk cp"
if have nc && have tar && have ss; then tools="$tools tar"; else skipped "tar over nc"; fi
if have rsync; then
    start_rsync yes
    tools="$tools rsync"
else
    skipped "rsync"
fi
start_server ./server --root "$folder" --bind 127.0.0.1 0
machine
echo "$rounds rounds in /dev/shm over loopback, 4 streams; medians"

# report NAME: the median with all times.
report() { printf '%-16s %6d ms   (%s)\n' "$1" "$(median "$1")" "$(noted "$1")"; }

for set in $sets; do
    make_set "$set"
    round=0
    while [ "$round" -lt "$rounds" ]; do
        round=$((round + 1))
        for tool in $tools; do
            run "$tool"
            case $tool in
            ropewalk) timed "nothing-$set" by_ropewalk ;;
            rsync) timed "rsync-nothing-$set" by_rsync ;;
            esac
        done
    done
    echo "set $set: $(find "$folder/$set" -type f | wc -l) files, $(du -sm --apparent-size "$folder/$set" | cut -f1) MiB"
    for tool in $tools; do
        report "$tool-$set"
        [ "$tool" = ropewalk ] || echo "  ropewalk / $tool $(ratio "ropewalk-$set" "$tool-$set")"
    done
    report "nothing-$set"
    case " $tools " in *" rsync "*)
        report "rsync-nothing-$set"
        echo "  nothing changed: ropewalk / rsync $(ratio "nothing-$set" "rsync-nothing-$set")"
        ;;
    esac
    rm -rf "$folder/out" "${folder:?}/$set"
done
