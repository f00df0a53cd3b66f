# Functions that the scripts share. A script goes to the top of the repository and reads this file:
#
#   cd "$(dirname "$0")/../.."
#   . scripts/lib.sh
#
# The file holds to POSIX sh, and works with and without `set -e`.

# The name of the script in its messages: `bench/wan` for scripts/bench/wan.sh.
script=${0#"${0%scripts/*}scripts/"}
script=${script%.sh}

# have PROGRAM: whether the program is installed.
have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }

# skipped WHY: says what was skipped and why. The script continues.
skipped() { echo "$script: skipped: $*"; }

# skip WHY: says why nothing was done, and ends the script with success.
skip() { skipped "$@"; exit 0; }

# fail WHY: ends the script with an error.
fail() { echo "$script: $*" >&2; exit 1; }

# What the script removes at its end: processes, the scratch folder, network namespaces.
running=
folder=
namespaces=

# clean_up_too: undoes more, once the processes have ended. A script may redefine it.
clean_up_too() { :; }

# stop PID: ends a process that this shell started, and waits for its end.
stop() {
    kill "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
    left=
    for pid in $running; do [ "$pid" = "$1" ] || left="$left $pid"; done
    running=$left
}

clean_up() {
    for pid in $running; do kill "$pid" 2>/dev/null || true; done
    for pid in $running; do wait "$pid" 2>/dev/null || true; done
    clean_up_too
    for namespace in $namespaces; do ip netns del "$namespace" 2>/dev/null || true; done
    [ -z "$folder" ] || rm -rf "$folder"
}

# make_folder [PARENT]: makes the scratch folder $folder, and cleans up when the script ends.
make_folder() {
    folder=$(mktemp -d "${1:-${TMPDIR:-/tmp}}/ropewalk.XXXXXX")
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# make_open_folder [PARENT]: the same, where other users may look: nginx that root starts is one.
make_open_folder() {
    make_folder "$@"
    chmod 755 "$folder"
}

# in_memory MIB: whether /dev/shm has so much room for files, and programs run there.
in_memory() {
    [ -w /dev/shm ] && [ "$(df -Pm /dev/shm | awk 'NR == 2 { print $4 }')" -ge "$1" ] || return 1
    program=$(mktemp /dev/shm/ropewalk.XXXXXX) || return 1
    printf '#!/bin/sh\n' >"$program" && chmod 700 "$program" && "$program"
    set -- $?
    rm -f "$program"
    return "$1"
}

# start_server COMMAND...: starts a server and waits until it listens. Sets $server to its process
# and $address to its HOST:PORT. Its messages go to $folder/server.log. COMMAND must not be a shell
# function: $server would be a shell around the server.
start_server() {
    mkfifo "$folder/ready"
    "$@" >"$folder/ready" 2>>"$folder/server.log" &
    server=$!
    running="$running $server"
    # `read` fails when the server ends before it listens.
    read -r line <"$folder/ready" || fail "the server did not start: $(cat "$folder/server.log")"
    rm "$folder/ready"
    address=${line#listening on }
}

# free_port: prints a port of loopback that no socket uses, for programs that cannot choose a port.
free_port() {
    used=$(awk 'NR > 1 { split($2, part, ":"); print part[2] }' /proc/net/tcp /proc/net/tcp6)
    port=$((20000 + $$ % 10000))
    while printf '%s\n' "$used" | grep -qi "^$(printf '%04X' "$port")\$"; do port=$((port + 1)); done
    echo "$port"
}

# start_sshd ADDRESS [COMMAND...]: starts an sshd of the script's own at this address, behind COMMAND
# if there is one. It lets this user in. Sets $ssh to the command that reaches it as the host box; scp
# takes the same -F. Shells read no settings of the user's, which may take longer than the login.
# Skips the script where there is no sshd.
start_sshd() {
    sshd_address=$1
    shift
    sshd=
    for path in /usr/sbin/sshd /usr/local/sbin/sshd /usr/lib/ssh/sshd; do
        [ ! -x "$path" ] || sshd=$path
    done
    { [ -n "$sshd" ] && have ssh && have ssh-keygen; } || skip "OpenSSH is not installed"
    # sshd wants this folder, which its service makes at the start.
    [ -d /run/sshd ] || mkdir /run/sshd 2>/dev/null || skip "sshd lacks /run/sshd"
    for key in host user; do
        [ -e "$folder/key-$key" ] || ssh-keygen -q -t ed25519 -N '' -f "$folder/key-$key"
    done
    sshd_port=$(free_port)
    rm -f "$folder/sshd.log" "$folder/known"
    printf '%s\n' "ListenAddress $sshd_address" "Port $sshd_port" "HostKey $folder/key-host" \
        'PidFile none' 'UsePAM no' "AuthorizedKeysFile $folder/key-user.pub" 'StrictModes no' \
        'PermitRootLogin yes' 'Subsystem sftp internal-sftp' "SetEnv HOME=$folder" >"$folder/sshd.conf"
    printf '%s\n' 'Host box' "Hostname $sshd_address" "Port $sshd_port" \
        "IdentityFile $folder/key-user" 'IdentitiesOnly yes' "UserKnownHostsFile $folder/known" \
        'StrictHostKeyChecking accept-new' 'LogLevel ERROR' >"$folder/ssh.conf"
    "$@" "$sshd" -D -e -f "$folder/sshd.conf" 2>"$folder/sshd.log" &
    sshd=$!
    running="$running $sshd"
    until grep -q 'listening on' "$folder/sshd.log"; do
        kill -0 "$sshd" 2>/dev/null || skip "sshd does not run: $(cat "$folder/sshd.log")"
        sleep 0.1
    done
    # shellcheck disable=SC2034 # for the scripts
    ssh="ssh -F $folder/ssh.conf"
}

# child PID: the first child of a process.
child() { cat "/proc/$1/task/"*/children 2>/dev/null | tr ' ' '\n' | head -n 1; }

# now: the time in nanoseconds. since TIME: the milliseconds since a time of `now`.
now() { date +%s%N; }
since() { echo $((($(now) - $1) / 1000000)); }

# once NAME COMMAND...: runs the command, and notes its milliseconds under NAME. The command writes
# only the file $folder/out. Its messages are in $folder/said.
once() {
    name=$1
    shift
    rm -f "$folder/out"
    begun=$(now)
    "$@" >"$folder/said" 2>&1 || fail "$name failed: $(cat "$folder/said")"
    since "$begun" >>"$folder/times-$name"
}

# noted NAME: all times that `once` noted, in one line. median NAME: their median. ratio A B: the
# median of A divided by that of B.
noted() { tr '\n' ' ' <"$folder/times-$1"; }
median() { sort -n "$folder/times-$1" | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'; }
ratio() { awk -v a="$(median "$1")" -v b="$(median "$2")" 'BEGIN { printf "%.2f", a / b }'; }

# show NAME: prints the median and all times that `once` noted. machine: prints what measures.
show() { printf '%-24s %6d ms   (%s)\n' "$1" "$(median "$1")" "$(noted "$1")"; }
machine() {
    model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
    echo "machine: $(nproc) cores, $model, $(uname -sr), load $(cut -d' ' -f1 /proc/loadavg)"
}

# long_path DELAY_MS LOSS_PERCENT RATE_MBIT: makes two network namespaces with such a path between
# them (tools/wanem.c). `$in_a COMMAND` runs a command in the first, which has 10.77.0.1, and `$in_b
# COMMAND` in the second. Skips the script if the machine cannot make the path.
long_path() {
    [ "$(id -u)" = 0 ] || skip "network namespaces need root"
    [ -c /dev/net/tun ] || skip "no /dev/net/tun here"
    have ip || skip "ip (iproute2) is not installed"
    cc=${CC:-cc}
    have "${cc%% *}" || skip "no C compiler ($cc) for tools/wanem.c"
    mkdir -p target
    # Another script may be starting the program at this moment.
    $cc -O2 -pthread -o "target/wanem.$$" tools/wanem.c || fail "tools/wanem.c cannot be built"
    mv "target/wanem.$$" target/wanem
    here=ropewalk-$$-a
    there=ropewalk-$$-b
    namespaces="$namespaces $here $there"
    ip netns add "$here" 2>"$folder/why" || skip "no network namespaces here: $(cat "$folder/why")"
    ip netns add "$there"
    # Packets must not wait for a processor.
    nice -n -15 target/wanem "$here" "$there" "$@" 2>"$folder/wanem.log" &
    wanem=$!
    running="$running $wanem"
    until grep -q ' up: ' "$folder/wanem.log"; do
        kill -0 "$wanem" 2>/dev/null || skip "no path: $(cat "$folder/wanem.log")"
        sleep 0.1
    done
    in_a="ip netns exec $here"
    in_b="ip netns exec $there"
}

# congestion_control NAME: sets the congestion control of both ends of the long path. Linux then
# uses nothing that an earlier connection learned.
congestion_control() {
    for run in "$in_a" "$in_b"; do
        $run sysctl -qw "net.ipv4.tcp_congestion_control=$1" net.ipv4.tcp_no_metrics_save=1 || return 1
    done
}

# start_rsync READ_ONLY: serves $folder as the module `files` of rsync's own daemon, without SSH. Sets
# $rsync_url. READ_ONLY is yes or no.
start_rsync() {
    rsync_port=$(free_port)
    rsync_url=rsync://127.0.0.1:$rsync_port/files
    cat >"$folder/rsyncd.conf" <<EOF
use chroot = no
address = 127.0.0.1
port = $rsync_port
uid = $(id -u)
gid = $(id -g)
log file = $folder/rsyncd.log
[files]
path = $folder
read only = $1
EOF
    rsync --daemon --no-detach --config="$folder/rsyncd.conf" &
    running="$running $!"
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        # 23: it answers, and there is no such file.
        rsync "$rsync_url/none" >/dev/null 2>&1 || [ $? = 23 ] && return
        sleep 0.2
    done
    fail "the rsync daemon did not start"
}

# start_nginx LINES: serves $folder with these lines in its server section. Sets $nginx_url. nginx
# cannot choose a free port, so the function takes a port that was free a moment ago.
start_nginx() {
    port=$(free_port)
    nginx_url=http://127.0.0.1:$port
    cat >"$folder/nginx.conf" <<EOF
worker_processes 2;
daemon off;
pid $folder/nginx.pid;
error_log $folder/nginx.log;
events { worker_connections 256; }
http {
    access_log off; sendfile on; tcp_nopush on;
    client_body_temp_path $folder/t1; proxy_temp_path $folder/t2; fastcgi_temp_path $folder/t3;
    uwsgi_temp_path $folder/t4; scgi_temp_path $folder/t5;
    server { listen 127.0.0.1:$port; root $folder; $1 }
}
EOF
    PATH=$PATH:/usr/sbin nginx -p "$folder" -c "$folder/nginx.conf" 2>/dev/null &
    running="$running $!"
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        curl -sI -o "$folder/said" "$nginx_url/" && return
        sleep 0.2
    done
    fail "nginx did not start: $(cat "$folder/nginx.log" 2>/dev/null)"
}

# many FOLDER FOLDERS FILES BYTES: makes FOLDER with so many folders, each with so many files.
many() {
    mkdir -p "$1"
    python3 - "$@" <<'EOF'
import os, sys
os.chdir(sys.argv[1])
folders, files, size = map(int, sys.argv[2:])
for d in range(folders):
    os.mkdir(f"d{d:03}")
    for f in range(files):
        with open(f"d{d:03}/f{f:03}", "wb") as out:
            out.write(os.urandom(size))
EOF
}

# facts FOLDER: every entry with its type, mode, mtime, size and the text of a link.
facts() { (cd "$1" && find . -printf '%P %y %m %T@ %s %l\n' | sed 's/^\(.* d .*\) [0-9]* $/\1/' | sort); }
