#!/bin/sh
# make install puts the programs where they find each other, and man pages and completions where
# their readers look. It compiles nothing.
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
make_folder
make --no-print-directory install DESTDIR="$folder" PREFIX=/usr >/dev/null
bin=$folder/usr/bin
[ "$(ls "$bin")" = "ropewalk-client
ropewalk-server" ]
[ "$(ls "$folder/usr/libexec/ropewalk")" = "receiver
sender" ]
# The content of share/, in its place.
[ "$(cd "$folder/usr" && find . -path ./share -prune -o -type f -print | wc -l)" = 4 ]
diff -r share "$folder/usr/share"
find "$folder/usr/share" -type f ! -perm 644 | grep . && exit 1
if have man; then
    for name in server client sender receiver; do
        man -M "$folder/usr/share/man" -w "ropewalk-$name" >/dev/null
    done
fi
# Another file with a worker's name in a folder of PATH is not taken for the worker.
printf '#!/bin/sh\nexit 1\n' >"$bin/sender"
chmod 755 "$bin/sender"
cp "$bin/sender" "$bin/receiver"
# make fails if it cannot install a file, also a man page or a completion.
mkdir -p "$folder/full/usr"
: >"$folder/full/usr/share"
if make --no-print-directory install DESTDIR="$folder/full" PREFIX=/usr >/dev/null 2>&1; then
    fail "make install says that it has put papers beneath a plain file"
fi
start_server "$bin/ropewalk-server" --bind 127.0.0.1 0
"$bin/ropewalk-client" -q "$address" 3 "$PWD/Cargo.lock" "$folder/out"
cmp Cargo.lock "$folder/out"
# Messages bear the name under which the program was started.
"$bin/ropewalk-client" 2>&1 | grep -q '^usage: ropewalk-client '
# make uninstall removes all installed files, and nothing else.
stop "$server"
make --no-print-directory uninstall DESTDIR="$folder" PREFIX=/usr >/dev/null
left=$(cd "$folder/usr" && find . -type f | sort | tr '\n' ' ')
[ "$left" = "./bin/receiver ./bin/sender " ] || fail "make uninstall leaves $left"
