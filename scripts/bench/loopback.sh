#!/bin/sh
# Measures ropewalk beside other tools for the same task. Each round runs every tool once, one after
# another, and the script compares the medians of all rounds. So a busy machine slows all tools
# alike. Names and skips each tool that is not installed. Writes docs/bench.svg: the seconds of each
# tool.
#
#   scripts/bench/loopback.sh [ROUNDS [MIB]]        7 rounds of 1024 MiB in /dev/shm
#
# Needs the programs of `make`, and room for three such files in /dev/shm. Every server that it
# starts listens on loopback. scripts/bench/wan.sh measures a long path.
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
rounds=${1:-7}
mib=${2:-1024}
make_open_folder /dev/shm

machine
echo "$rounds rounds of $mib MiB in /dev/shm over loopback, 4 streams; medians"
head -c $((mib << 20)) /dev/urandom >"$folder/file"
head -c 1 /dev/urandom >"$folder/one"
sleep 2.1 # the server remembers a digest only of a file that has not changed for 2 s
start_server ./server -q --bind 127.0.0.1 0
nginx=
if have nginx && have curl; then start_nginx ""; url=$nginx_url/file; nginx=1; else skipped "curl and lftp from nginx (not installed)"; fi
lftp=; if have lftp && [ -n "$nginx" ]; then lftp=1; else skipped "lftp"; fi
aria2=; if have aria2c && [ -n "$nginx" ]; then aria2=1; else skipped "aria2c"; fi
axel=; if have axel && [ -n "$nginx" ]; then axel=1; else skipped "axel"; fi
rclone=; if have rclone && [ -n "$nginx" ]; then rclone=1; else skipped "rclone"; fi
rsync=; if have rsync; then start_rsync yes; rsync=1; else skipped "rsync"; fi
md5=$(md5sum "$folder/file" | cut -d' ' -f1)

round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    once cp cp "$folder/file" "$folder/out"
    once crc32c ./client --verify crc32c "$address" 4 "$folder/file" "$folder/out"
    once none ./client --verify none "$address" 4 "$folder/file" "$folder/out"
    [ -z "$nginx" ] || once curl curl -sf -o "$folder/out" "$url"
    [ -z "$nginx" ] || once curl-ropewalk curl -sf -o "$folder/out" "http://$address$folder/file"
    [ -z "$lftp" ] || once lftp lftp -c "set net:socket-buffer 0; pget -n 4 -c $url -o $folder/out"
    [ -z "$axel" ] || once axel axel -q -n 4 -o "$folder/out" "$url"
    [ -z "$rclone" ] || once rclone rclone copyto --config /dev/null --multi-thread-streams 4 \
        --multi-thread-cutoff 1M --http-url "${url%/file}" :http:file "$folder/out"
    [ -z "$rsync" ] || once rsync rsync -W "$rsync_url/file" "$folder/out"
    # A digest that the server has to compute: touching the file changes its ETag.
    touch "$folder/file"
    once md5-fresh ./client "$address" 4 "$folder/file" "$folder/out"
    sleep 2.1
    ./client -q --restart "$address" 4 "$folder/file" "$folder/out"
    once md5-known ./client "$address" 4 "$folder/file" "$folder/out"
    cmp "$folder/file" "$folder/out"
    once md5sum md5sum "$folder/file"
    [ -z "$aria2" ] || once aria2 aria2c -q -x4 -s4 --file-allocation=none --checksum=md5="$md5" \
        --allow-overwrite=true -d "$folder" -o out "$url"
    once one-byte ./client "$address" 4 "$folder/one" "$folder/out"
done

for name in cp crc32c none curl curl-ropewalk lftp axel rclone rsync md5-fresh md5-known md5sum aria2 one-byte; do
    [ ! -f "$folder/times-$name" ] || printf '%-14s %6d ms   (%s)\n' "$name" "$(median "$name")" \
        "$(noted "$name")"
done
compare() { # compare LABEL A B WANTED
    [ ! -f "$folder/times-$3" ] ||
        printf '%-52s %5s   (wanted: at most %s)\n' "$1" "$(ratio "$2" "$3")" "$4"
}
compare "--verify crc32c beside curl from nginx" crc32c curl 0.80
compare "--verify crc32c beside lftp pget -n 4 from nginx" crc32c lftp 0.80
compare "--verify crc32c beside axel -n 4 from nginx" crc32c axel 0.80
compare "--verify crc32c beside a local cp" crc32c cp 1.50
compare "default (MD5 of both sides) beside aria2c with MD5" md5-fresh aria2 0.75
compare "default, digest remembered, beside md5sum alone" md5-known md5sum 1.35
compare "GET by curl beside the same from nginx" curl-ropewalk curl 1.10

# bar NAME OURS LABEL CHECKS: one bar of the picture, for a measured tool.
bar() {
    [ ! -f "$folder/times-$1" ] || printf '%s|%s|%s|%s\n' "$(median "$1")" "$2" "$3" "$4" >>"$folder/bars"
}
: >"$folder/bars"
bar cp 0 "cp, on one machine" "checks nothing"
bar crc32c 1 "ropewalk --verify crc32c" "checks each block; syncs the disk"
bar md5-known 1 "ropewalk, MD5 known to the server" "checks each block and the file; syncs"
bar md5-fresh 1 "ropewalk" "checks each block and the file; syncs"
bar lftp 0 "lftp pget -n 4" "checks nothing"
bar rclone 0 "rclone, 4 streams" "checks nothing"
bar curl 0 "curl" "checks nothing"
bar rsync 0 "rsync -W, from its daemon" "checks the file"
bar axel 0 "axel -n 4" "checks nothing"
bar aria2 0 "aria2c -x4 --checksum" "checks the file"
sh scripts/bench/memory.sh "$address" "$folder/file" "$folder/out" "$server"
sort -n "$folder/bars" | awk -v mib="$mib" -f scripts/bench/svg.awk >docs/bench.svg
echo "docs/bench.svg was written"
