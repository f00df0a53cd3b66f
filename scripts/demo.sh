#!/bin/sh
# Shows ropewalk at work on this machine: a server on a free port of loopback, a file, a fetch over
# 4 streams, a comparison. Leaves nothing behind.
set -eu
cd "$(dirname "$0")/.."
. scripts/lib.sh
make_folder

echo "\$ ./server --root folder --bind 127.0.0.1 0"
start_server ./server --root "$folder" --bind 127.0.0.1 0
echo "listening on $address"

echo "\$ head -c 64M /dev/urandom > folder/file"
head -c 67108864 /dev/urandom >"$folder/file"

echo "\$ ./client $address 4 file out"
./client "$address" 4 file "$folder/out"

echo "\$ cmp folder/file out"
cmp "$folder/file" "$folder/out"
echo "the same, byte for byte; the server's log says:"
stop "$server"
cat "$folder/server.log"
