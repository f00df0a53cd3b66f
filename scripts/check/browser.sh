#!/bin/sh
# Tests the server's pages in headless Chromium: opens an index, runs its script, downloads a file
# from it, and puts files into a folder, with a password. Not part of `make test`, since few machines have a browser.
#
#   scripts/check/browser.sh [FOLDER]      leaves pictures of the pages in FOLDER, too
#
# The server is the one that `make` has left here, or $SERVER. The browser is chromium, or $BROWSER.
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
browser=${BROWSER:-chromium}
have "$browser" || skip "$browser is not installed"
make_folder

name='größe & <b>.bin'
root=$folder/root
mkdir -p "$root/empty" "$root/old files/2023/a" "$root/many" "$folder/home/Default" "$folder/got"
head -c 30000000 /dev/urandom >"$root/$name"
truncate -s 2600M "$root/ubuntu-24.04.1-live-server-amd64.iso"
truncate -s 14M "$root/linux-image-6.8.0-45-generic-unsigned_6.8.0-45.45+a-long-version_amd64.deb"
truncate -s 221M "$root/report-final_v2.pdf"
echo text >"$root/notes.txt"
echo text >"$root/old files/2023/a/notes.txt"
for count in 1 2 10; do truncate -s "${count}M" "$root/photo_$count.jpg"; done
touch -d '2024-02-29 23:59 UTC' "$root"/*
for count in $(seq 150); do echo "$count" >"$root/many/frame-$count.log"; done
printf '{"download":{"default_directory":"%s","prompt_for_download":false}}' "$folder/got" \
    >"$folder/home/Default/Preferences"
start_server "${SERVER:-./server}" -q --index --root "$root" --bind 127.0.0.1 0

# browse ARGUMENT...: replaces the shell that calls it with the browser, and drops its messages.
browse() {
    exec "$browser" --headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run \
        --disable-background-networking --disable-component-update --disable-sync \
        --user-data-dir="$folder/home" "$@" 2>/dev/null
}

(TZ=Asia/Tokyo browse --lang=en-US --dump-dom "http://$address/") >"$folder/index"
link=$(sed -n 's/.*<a href="\([^"]*\.bin\)">gr.*e &amp; &lt;b&gt;\.bin<\/a>.*/\1/p' "$folder/index")
[ -n "$link" ] || fail "the index does not show the file: $(cat "$folder/index")"
echo "the index shows it as $link"
# The script may run, and knows the time zone.
grep -q '<time datetime="2024-02-29T23:59Z" title="2024-02-29 23:59 UTC">Mar 1, 2024<.*8:59' \
    "$folder/index" || fail "no local dates: $(cat "$folder/index")"

# picture NAME PATH: the page at PATH in all widths, light and dark.
picture() {
    for width in 390 1280 1920; do
        (browse --hide-scrollbars --window-size="$width,844" \
            --screenshot="$pictures/$1-$width-light.png" "http://$address$2") >/dev/null
        (browse --hide-scrollbars --window-size="$width,844" \
            --blink-settings=preferredColorScheme=0 \
            --screenshot="$pictures/$1-$width-dark.png" "http://$address$2") >/dev/null
    done
}
if [ $# -gt 0 ]; then
    pictures=$(mkdir -p "$1" && cd "$1" && pwd)
    picture index /
    picture search '/many/?q=9&sort=-size'
    picture path /old%20files/2023/a/
    picture file '/notes.txt?get'
    picture shown '/notes.txt?view'
    picture empty /empty/
    picture error /nothing
    echo "pictures: $(ls "$pictures" | wc -l) in $pictures"
fi
# The download goes on behind the page. So the script ends the browser when the file has its name.
browse "http://$address/$link" >/dev/null &
running="$running $!"
tries=0
until [ "$(ls "$folder/got" | grep -c '\.bin$')" = 1 ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || fail "nothing was downloaded"
    sleep 0.1
done
cmp "$folder/got/"*.bin "$root/$name"
echo "$("$browser" --version 2>/dev/null): $(ls "$folder/got"), right"

# The upload field: several files, progress, and a refusal in words. Needs python3 as well.
have python3 || skip "python3 is not installed"
inbox=$root/in
mkdir "$inbox"
(umask 077 && echo 'ann:correct horse' >"$folder/users")
start_server "${SERVER:-./server}" -q --index --root "$root" --writable "$inbox" --keep-free 0 \
    --max-upload 20M --auth "$folder/users" --bind 127.0.0.1 0
sent=$folder/sent
mkdir "$sent"
head -c 9000000 /dev/urandom >"$sent/a & <b>.bin"
echo small >"$sent/%41 größe.txt"
truncate -s 21M "$sent/huge"
put() {
    python3 scripts/check/upload.py "$browser" "$folder/second" "http://$address/in/" "$@" \
        -- ann 'correct horse'
}
put "$sent/a & <b>.bin" "$sent/%41 größe.txt" >"$folder/said"
cmp "$sent/a & <b>.bin" "$inbox/a & <b>.bin"
cmp "$sent/%41 größe.txt" "$inbox/%41 größe.txt"
grep -q '8.5 MiB' "$folder/said" || fail "the page does not show the new files: $(cat "$folder/said")"
put "$sent/%41 größe.txt" "$sent/huge" >"$folder/said"
for words in 'a file of this name is there already | Replace it' \
    'huge | the file is larger than this server takes'; do
    grep -qF "$words" "$folder/said" || fail "no words about a refusal: $(cat "$folder/said")"
done
[ "$(ls -A "$inbox" | wc -l)" = 2 ] || fail "leftovers: $(ls -A "$inbox")"
echo "uploads: $(cat "$folder/said")"
