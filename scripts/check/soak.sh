#!/bin/bash
# Puts a server under load for a long time. The parts: service beside idle and dribbling
# connections, 60 clients at once, 64 clients of one address with all streams, many transfers one
# after another, and a client that vanishes.
#
#   scripts/check/soak.sh [TRANSFERS [PART...]]     10,000; crowd sixty full sequence vanish
#
# The last part needs root and ip(8). Prints the figures of docs/SOAK.md. Ends with an error if the
# server breaks a promise.
set -u
cd "$(dirname "$0")/../.." || exit 1
. scripts/lib.sh
transfers=${1:-10000}
shift $(($# > 0))
make_folder
cut_off=ropewalk-soak-$$
status=0
most=
clean_up_too() { [ -z "$most" ] || echo "$most" >/proc/sys/kernel/pid_max; }

say() { printf '%s\n' "$*"; }
complain() { say "FAILED: $*"; status=1; }
memory() { awk '/^VmRSS/ { print $2 }' "/proc/$server/status"; } # in KiB
descriptors() { find "/proc/$server/fd" -mindepth 1 | wc -l; }
threads() { find "/proc/$server/task" -mindepth 1 -maxdepth 1 | wc -l; }
children() { pgrep -P "$server" | wc -l; }

# start ADDRESS [OPTION...]: starts a server of the folder and sets $port.
start() {
    local host=$1
    shift
    start_server ./server -q --root "$folder" --bind "$host" "$@" 0
    port=${address##*:}
}

fetch() { ./client -q --restart --no-sync "$1:$port" 4 file "$2" && cmp -s "$folder/file" "$2"; }

head -c 1048576 /dev/urandom >"$folder/file"
ulimit -n "$(ulimit -Hn)"

# Idle and dribbling connections, more of them than the server allows.
crowd() {
    start 127.0.0.1
    (
        for number in $(seq 600); do
            # The server may already have closed it.
            { exec {opened}<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null || continue
            [ $((number % 2)) = 0 ] || printf 'GET /fi' >&"$opened"
        done 2>/dev/null
        : >"$folder/open"
        sleep 60
    ) &
    crowd=$!
    until [ -e "$folder/open" ]; do sleep 0.05; done
    began=$(now)
    fetch 127.0.0.1 "$folder/out" || complain "a transfer beside 600 connections"
    took=$(since "$began")
    say "600 idle or dribbling connections: a transfer of 1 MiB took $took ms"
    [ "$took" -lt 1000 ] || complain "it took more than a second"
    kill "$crowd"
    wait "$crowd" 2>/dev/null
    stop "$server"
}

# Many clients at once.
sixty() {
    start 127.0.0.1
    began=$(now)
    clients=
    for number in $(seq 60); do
        fetch 127.0.0.1 "$folder/out-$number" &
        clients="$clients $!"
    done
    served=0
    for client in $clients; do wait "$client" && served=$((served + 1)); done
    say "60 clients at once: $served served, in $(since "$began") ms"
    [ "$served" = 60 ] || complain "not all were served"
    stop "$server"
}

# Everything that the defaults allow one address: 64 clients with 255 streams. Each client takes at
# least a minute, so all of them are under way at once.
full() {
    if [ "$(cat /proc/sys/kernel/pid_max)" -lt 65536 ]; then
        # Both sides on one machine need more threads than the usual limit allows. The limit is
        # restored at the end.
        most=$(cat /proc/sys/kernel/pid_max)
        { echo 65536 >/proc/sys/kernel/pid_max; } 2>/dev/null || most=
    fi
    start 127.77.7.7
    head -c 67108864 /dev/urandom >"$folder/large"
    began=$(now)
    clients=
    for number in $(seq 64); do
        { ./client --no-sync --progress none --verify crc32c --limit-rate 1M "127.77.7.7:$port" 255 large \
            "$folder/out-$number" >"$folder/said-$number" && cmp -s "$folder/large" "$folder/out-$number"; } &
        clients="$clients $!"
    done
    # The streams are the senders' connections, without those to the control port. In /proc/net/tcp
    # an address is hexadecimal, in the machine's byte order.
    control=$(printf '07074D7F:%04X' "$port")
    peak=0
    while [ -n "$(jobs -r | grep -v 'server')" ]; do
        open=$(awk -v control="$control" \
            '$2 ~ /^07074D7F:/ && $2 != control && $4 == "01" { n++ } END { print n + 0 }' /proc/net/tcp)
        [ "$open" -le "$peak" ] || peak=$open
        sleep 0.2
    done
    served=0
    for client in $clients; do wait "$client" && served=$((served + 1)); done
    full=$(cat "$folder"/said-* | grep -c ' over 255 streams')
    say "64 clients of one address with 255 streams each: $served served, $full of them over 255"
    say "  streams; at most $peak streams were open at once; in $(($(since "$began") / 1000)) s"
    [ "$served" = 64 ] && [ "$full" = 64 ] || complain "not all were served with all their streams"
    [ "$peak" -ge 16320 ] || complain "not all streams were open at once"
    rm -f "$folder"/out-* "$folder"/said-* "$folder/large"
    stop "$server"
}

# Many transfers one after another. The first ones fill the caches.
sequence() {
    start 127.0.0.1
    for _ in $(seq 200); do fetch 127.0.0.1 "$folder/out"; done
    settle() { sleep 1; until [ "$(children)" = 0 ]; do sleep 0.1; done; sleep 1; }
    settle
    before="$(descriptors) $(threads) $(children)"
    memory_before=$(memory)
    began=$(now)
    served=0
    for _ in $(seq "$transfers"); do fetch 127.0.0.1 "$folder/out" && served=$((served + 1)); done
    took=$(since "$began")
    settle
    after="$(descriptors) $(threads) $(children)"
    memory_after=$(memory)
    say "$transfers transfers one after another: $served good, in $((took / 1000)) s"
    say "  descriptors, threads, children: before $before, after $after"
    say "  memory: before $memory_before KiB, after $memory_after KiB"
    [ "$served" = "$transfers" ] || complain "not all were good"
    [ "$before" = "$after" ] || complain "something stayed"
    [ $((memory_after - memory_before)) -le 4096 ] || complain "memory grew"
    stop "$server"
}

# A client that vanishes without a word: it runs in its own network, and the script cuts the cable.
vanish() {
    if [ "$(id -u)" = 0 ] && ip netns add "$cut_off" 2>/dev/null; then
        namespaces=$cut_off
        ip link add rw-soak type veth peer name rw-soak-in netns "$cut_off"
        ip addr add 10.211.7.1/30 dev rw-soak
        ip link set rw-soak up
        ip -n "$cut_off" addr add 10.211.7.2/30 dev rw-soak-in
        ip -n "$cut_off" link set rw-soak-in up
        start 10.211.7.1 --limit-rate 1M
        head -c 268435456 /dev/urandom >"$folder/file"
        idle="$(descriptors) $(threads) $(children)"
        ip netns exec "$cut_off" ./client -q "10.211.7.1:$port" 8 file "$folder/out" &
        client=$!
        ip netns exec "$cut_off" curl -s -o "$folder/got" "http://10.211.7.1:$port/file" &
        reader=$!
        sleep 3
        busy="$(descriptors) $(threads) $(children)"
        ip -n "$cut_off" link set rw-soak-in down
        began=$(now)
        pkill -9 -P "$client" 2>/dev/null
        kill -9 "$client" "$reader" 2>/dev/null
        wait "$client" "$reader" 2>/dev/null
        while [ "$(descriptors) $(threads) $(children)" != "$idle" ]; do
            sleep 1
            [ "$(since "$began")" -lt 180000 ] || break
        done
        took=$(since "$began")
        say "a client that vanished: descriptors, threads, children: idle $idle, busy $busy;"
        say "  as before after $((took / 1000)) s"
        [ "$took" -lt 120000 ] || complain "it took more than two minutes"
        stop "$server"
        ip link del rw-soak 2>/dev/null
    else
        say "a client that vanishes: not tried, needs root and ip(8)"
    fi
}

[ $# -gt 0 ] || set -- crowd sixty full sequence vanish
for part; do "$part"; done
exit "$status"
