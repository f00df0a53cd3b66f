#!/bin/sh
# Headless Chromium and the server's pages: looks at an index, and downloads a file from it.
# Not part of `make test`: few machines have a browser.
#
#   scripts/try-browser.sh [PICTURE.png]      the index as a picture, too
#
# The server is the one that `make` has left here, or $SERVER; the browser chromium, or
# $BROWSER.
set -eu
cd "$(dirname "$0")/.."
browser=${BROWSER:-chromium}
command -v "$browser" >/dev/null || { echo "skipped: no $browser"; exit 0; }
folder=$(mktemp -d "${TMPDIR:-/tmp}/ropewalk-browser.XXXXXX")
running=
clean_up() {
    for pid in $running; do kill "$pid" 2>/dev/null || true; done
    [ -z "$running" ] || wait 2>/dev/null || true
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

name='größe & <b>.bin'
mkdir -p "$folder/root" "$folder/home/Default" "$folder/got"
head -c 30000000 /dev/urandom >"$folder/root/$name"
printf '{"download":{"default_directory":"%s","prompt_for_download":false}}' "$folder/got" \
    >"$folder/home/Default/Preferences"
mkfifo "$folder/ready"
"${SERVER:-./server}" -q --index --root "$folder/root" --bind 127.0.0.1 0 >"$folder/ready" &
running=$!
read -r line <"$folder/ready"
address=${line#listening on }

# browse ARGUMENT...: in place of the shell that calls it. What it says about itself is not
# looked at.
browse() {
    exec "$browser" --headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run \
        --disable-background-networking --disable-component-update --disable-sync \
        --user-data-dir="$folder/home" "$@" 2>/dev/null
}

(browse --dump-dom "http://$address/") >"$folder/index"
link=$(sed -n 's/.*<a href="\([^"]*\.bin\)">gr.*e &amp; &lt;b&gt;\.bin<\/a>.*/\1/p' "$folder/index")
[ -n "$link" ] || { echo "the index does not show the file:"; cat "$folder/index"; exit 1; }
echo "the index shows it as $link"
if [ $# -gt 0 ]; then
    (browse --window-size=900,300 --screenshot="$1" "http://$address/") >/dev/null
fi
# The download goes on behind the page, so the browser is ended when the file has its name.
browse "http://$address/$link" >/dev/null &
running="$running $!"
tries=0
until [ "$(ls "$folder/got" | grep -c '\.bin$')" = 1 ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || { echo "nothing was downloaded"; exit 1; }
    sleep 0.1
done
cmp "$folder/got/"*.bin "$folder/root/$name"
echo "$("$browser" --version 2>/dev/null): $(ls "$folder/got"), right"
