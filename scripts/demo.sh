#!/bin/sh
# Shows ropewalk at work on this machine: a server on a free port of loopback, a file,
# a fetch over 4 streams, a comparison. Leaves nothing behind.
set -eu
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
server=
clean_up() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$server" ] || wait "$server" 2>/dev/null || true
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

echo "\$ ./server --root folder --bind 127.0.0.1 0"
mkfifo "$folder/ready"
./server --root "$folder" --bind 127.0.0.1 0 >"$folder/ready" 2>"$folder/log" &
server=$!
read -r line <"$folder/ready"
echo "$line"
address=${line#listening on }

echo "\$ head -c 64M /dev/urandom > folder/file"
head -c 67108864 /dev/urandom >"$folder/file"

echo "\$ ./client $address 4 file out"
./client "$address" 4 file "$folder/out"

echo "\$ cmp folder/file out"
cmp "$folder/file" "$folder/out"
echo "the same, byte for byte; the server's log says:"
kill "$server"
wait "$server"
server=
cat "$folder/log"
