#!/bin/sh
# Measures pushes beside fetches of the same data, a push beside one to an rsync daemon, and PUT by
# curl beside a PUT to nginx. Each round runs every tool once, one after another, and the script
# compares the medians of all rounds. In the first round it compares contents, modes and mtimes too.
# Names and skips each tool that is not installed.
#
#   scripts/bench/push.sh [ROUNDS [MIB]]        5 rounds in /dev/shm; the file has 1024 MiB
#
# The folder S has 50,000 files of 4 KiB in 500 folders. Needs the programs of `make`, and room for
# two copies of the file in /dev/shm. Every server that it starts listens on loopback.
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
rounds=${1:-5}
mib=${2:-1024}
make_open_folder /dev/shm
mkdir -m 777 "$folder/in"

# measured NAME COMMAND...: notes the time of the command, which makes $folder/in/out from nothing.
measured() {
    rm -rf "$folder/in/out"
    once "$@"
}

# processor NAME COMMAND...: the same, and notes the milliseconds of processor time that the command
# and the server took.
processor() {
    name=$1
    begun_cpu=$(cpu_time)
    measured "$@"
    echo $(($(cpu_time) - begun_cpu)) >>"$folder/times-$name-cpu"
}

# cpu_time: the milliseconds of the server, and of everything that this shell or the server has
# started and that has ended.
cpu_time() {
    awk -v ticks="$(getconf CLK_TCK)" '{ sub(/^.*\) /, ""); sum += $14 + $15 }
        NR == 1 { sum += $12 + $13 }
        END { printf "%d", sum * 1000 / ticks }' "/proc/$server/stat" "/proc/$$/stat"
}

same_file() { cmp "$folder/file" "$folder/in/out" || fail "$1: the file differs"; }
same_tree() {
    diff -r --no-dereference "$folder/S" "$folder/in/out" >/dev/null || fail "$1: contents differ"
    facts "$folder/S" >"$folder/facts-1"
    facts "$folder/in/out" >"$folder/facts-2"
    cmp -s "$folder/facts-1" "$folder/facts-2" || fail "$1: modes or mtimes differ"
}
checked() { [ "$round" != 1 ] || "$@"; }

head -c $((mib << 20)) /dev/urandom >"$folder/file"
many "$folder/S" 500 100 4096
# The receiver of a server takes its umask off every mode.
chmod -R go-w "$folder/S"
start_server ./server -q --bind 127.0.0.1 --root "$folder" --writable "$folder/in" \
    --writable-by-anyone --keep-free 0 0
nginx=
if have nginx && have curl; then
    start_nginx "client_max_body_size 0; location /in/ { dav_methods PUT; }"
    nginx=1
else
    skipped "PUT to nginx (nginx or curl is not installed)"
fi
rsync=
if have rsync; then
    start_rsync no
    rsync=1
else
    skipped "rsync"
fi
machine
echo "$rounds rounds in /dev/shm over loopback, 4 streams; medians"

round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    # The server remembers the MD5 of a file. A new state has to be hashed, as for a push.
    touch "$folder/file"
    processor fetch-file ./client -q "$address" 4 file "$folder/in/out"
    checked same_file fetch-file
    processor push-file ./client -q --push "$address" 4 "$folder/file" in/out
    checked same_file push-file
    processor fetch-file-crc32c ./client -q --verify crc32c "$address" 4 file "$folder/in/out"
    processor push-file-crc32c ./client -q --push --verify crc32c "$address" 4 "$folder/file" in/out
    checked same_file push-file-crc32c
    processor fetch-S ./client -q "$address" 4 S "$folder/in/out"
    checked same_tree fetch-S
    processor push-S ./client -q --push "$address" 4 "$folder/S" in/out
    checked same_tree push-S
    if [ -n "$rsync" ]; then
        measured rsync-S rsync -a -W "$folder/S/" "$rsync_url/in/out"
        checked same_tree rsync-S
    fi
    if [ -n "$nginx" ]; then
        measured put-ropewalk curl -sf -T "$folder/file" "http://$address/in/out"
        checked same_file put-ropewalk
        measured put-nginx curl -sf -T "$folder/file" "$nginx_url/in/out"
        checked same_file put-nginx
    fi
done

for name in fetch-file push-file fetch-file-crc32c push-file-crc32c fetch-S push-S rsync-S \
    put-ropewalk put-nginx; do
    [ -f "$folder/times-$name" ] || continue
    printf '%-18s %6d ms' "$name" "$(median "$name")"
    [ ! -f "$folder/times-$name-cpu" ] || printf ', %6d ms of processor' "$(median "$name-cpu")"
    printf '   (%s)\n' "$(noted "$name")"
done
compare() { # compare LABEL A B WANTED
    [ ! -f "$folder/times-$3" ] ||
        printf '%-52s %5s   (wanted: at most %s)\n' "$1" "$(ratio "$2" "$3")" "$4"
}
compare "push of a file beside its fetch" push-file fetch-file 1.05
compare "the same with --verify crc32c" push-file-crc32c fetch-file-crc32c 1.05
compare "push of S beside its fetch" push-S fetch-S 1.05
compare "push of S beside one to an rsync daemon" push-S rsync-S 0.60
compare "PUT by curl beside the same to nginx" put-ropewalk put-nginx 1.30
