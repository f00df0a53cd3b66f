#!/bin/sh
# Installs the package of `make deb`, starts the server, fetches, removes and purges. All of it
# happens in an overlay over this machine's files, with separate processes, so that nothing stays. A
# second `make deb` gives the same bytes, and packs nothing that is older than the sources.
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
have dpkg-deb || skip "dpkg-deb is not installed"
make_folder
# To compress takes most of the time, and is not what is tested.
DEB_COMPRESSION=none
export DEB_COMPRESSION

# A copy with older programs at its top, and a cargo that builds new ones in no time.
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
mkdir "$folder/copy"
cp -R Makefile Cargo.toml ./*.md LICENSE docs packaging scripts share "$folder/copy"
cat >"$folder/programs" <<'PROGRAMS'
mkdir -p "$1"
for name in server client sender receiver; do
    printf '#!/bin/sh\necho ropewalk %s %s\n' "$name" "$2" >"$1/$name"
    chmod 755 "$1/$name"
done
PROGRAMS
cat >"$folder/cargo" <<CARGO
#!/bin/sh
[ "\$1" != --version ] || { echo cargo 9.0.0; exit; }
sh "$folder/programs" target/release "$version"
CARGO
chmod 755 "$folder/cargo"
pack() {
    env -u CARGO_BUILD_TARGET -u DEB_ARCHITECTURE \
        make --no-print-directory -C "$folder/copy" "$@" deb >"$folder/log" 2>&1
}
sh "$folder/programs" "$folder/copy" 0.0.0-older
if pack CARGO=/nonexistent; then fail "without cargo, an older version was packed"; fi
grep -q '^\./server is not .* but says ropewalk server 0\.0\.0-older' "$folder/log" ||
    fail "$(cat "$folder/log")"
[ -z "$(ls "$folder/copy/dist" 2>/dev/null)" ] || fail "refused, and yet there is a package"
pack CARGO="$folder/cargo" || fail "$(cat "$folder/log")"
dpkg-deb --fsys-tarfile "$folder/copy/dist/"*.deb | tar -xO ./usr/bin/ropewalk-server |
    cmp - "$folder/copy/target/release/server" || fail "with cargo, an older build was packed"
pack CARGO=/nonexistent || fail "$(cat "$folder/log")"
if pack CARGO=/nonexistent DEB_ARCHITECTURE=other; then fail "who knows of what version that is?"; fi

[ "$(id -u)" = 0 ] || skip "not root"
package=$(make --no-print-directory deb 2>"$folder/log") || fail "$(cat "$folder/log")"
cp "$package" "$folder/first"
(umask 077 && TZ=Asia/Tokyo make --no-print-directory deb >/dev/null 2>&1)
cmp "$package" "$folder/first"
dpkg-deb --contents "$package" >"$folder/contents"
awk '$2 != "root/root" || $1 ~ /^..(...w|......w)/ { bad = 1; print } END { exit bad }' \
    "$folder/contents" >&2 || fail "who owns that, and who may write to it?"
cp "$package" "$folder/package.deb"

# The lines for `systemctl edit` in docs/INSTALL.md and in the head of the socket's file leave no
# other port.
dpkg-deb --extract "$package" "$folder/root"
units=$folder/root/usr/lib/systemd/system
sed -n 's/^#   //p' "$units/ropewalk-server.socket" >"$folder/edit"
sed -n '/^    \[Socket\]$/,/^$/s/^    //p' "$folder/root/usr/share/doc/ropewalk/docs/INSTALL.md" |
    cmp - "$folder/edit" || fail "docs/INSTALL.md has other lines than the socket"
# The manager shows what it has read, but not to root.
ports() {
    setpriv --reuid 65534 --regid 65534 --clear-groups env SYSTEMD_UNIT_PATH="$units" HOME=/tmp \
        XDG_RUNTIME_DIR=/tmp /usr/lib/systemd/systemd --test --user --no-pager \
        --unit=ropewalk-server.socket 2>&1 | sed -n 's/.*ListenStream: .*:\([0-9]*\)$/\1/p'
}
chmod 711 "$folder"
if [ "$(ports)" = 8080 ]; then
    mkdir "$units/ropewalk-server.socket.d"
    cp "$folder/edit" "$units/ropewalk-server.socket.d/override.conf"
    [ "$(ports)" = 9000 ] || fail "edited, the socket has more ports: $(ports)"
else
    skipped "edited ports: systemd shows none here"
fi

cat >"$folder/overlay" <<'OVER'
set -eu
mount --make-rprivate /
mkdir -p "$1/over"
mount -t tmpfs tmpfs "$1/over"
cd "$1/over"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir="$PWD/upper",workdir="$PWD/work" root
mount -t proc proc root/proc
mount --rbind /dev root/dev
mkdir -p root/run root/tmp
mount -t tmpfs tmpfs root/run
mount -t tmpfs tmpfs root/tmp
# Maintainer scripts may start and stop servers only if this allows it. Containers often do not.
printf '#!/bin/sh\nexit "$(cat /tmp/policy)"\n' >root/usr/sbin/policy-rc.d
chmod 755 root/usr/sbin/policy-rc.d
echo 0 >root/tmp/policy
# Else man-db would index all man pages of this machine at each installation and removal.
rm -f root/var/lib/man-db/auto-update
cp "$1/package.deb" root/tmp/package.deb
cp "$1/inside" root/tmp/inside
[ "${2-}" = try ] || exec chroot root sh -eu /tmp/inside
OVER
cat >"$folder/inside" <<'INSIDE'
cd /tmp
exec 2>&1
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive
export PATH DEBIAN_FRONTEND
fail() { echo "$*"; exit 1; }
dpkg --install package.deb >log 2>&1 || fail "$(cat log)"
for file in man/man1/ropewalk-client.1.gz bash-completion/completions/ropewalk-client \
    zsh/vendor-completions/_ropewalk-client fish/vendor_completions.d/ropewalk-client.fish \
    doc/ropewalk/examples/openrc/ropewalk-server doc/ropewalk/examples/fleet/ropewalk-spread; do
    [ -f "/usr/share/$file" ] || fail "no $file"
done
# The folder for uploads is the same in the settings, in the unit and for systemd-tmpfiles, which
# makes it again.
incoming=$(sed -n 's/^#OPTIONS="--writable \([^ ]*\) .*/\1/p' /etc/default/ropewalk-server)
[ "$(stat -c '%U %G %a' "$incoming")" = "ropewalk ropewalk 750" ] || fail "$(ls -ld "$incoming")"
unit=/usr/lib/systemd/system/ropewalk-server.service
grep -qx "ReadWritePaths=-$incoming" "$unit" || fail "the service may not write to $incoming"
grep -q "^d $incoming 0750 ropewalk ropewalk " /usr/lib/tmpfiles.d/ropewalk-server.conf || fail "tmpfiles"
if command -v systemd-tmpfiles >/dev/null; then
    rmdir "$incoming"
    systemd-tmpfiles --create ropewalk-server.conf >log 2>&1 || fail "$(cat log)"
    [ "$(stat -c '%U %G %a' "$incoming")" = "ropewalk ropewalk 750" ] || fail "$(cat log)"
fi
if command -v systemd-analyze >/dev/null; then
    # systemd-analyze may not find the man pages where man keeps an index. Every other message
    # counts.
    systemd-analyze verify --man=no ropewalk-server.socket ropewalk-server.service ||
        fail "the units"
fi
[ "$(grep -c '^/etc/[a-z./]*/ropewalk-server$' /var/lib/dpkg/info/ropewalk.conffiles)" = 3 ] ||
    fail "$(cat /var/lib/dpkg/info/ropewalk.conffiles)"
dpkg --verify ropewalk
zcat /usr/share/doc/ropewalk/changelog.gz >changelog
version=$(dpkg-query -W -f '${Version}' ropewalk)
[ "$(head -n 1 changelog)" = "ropewalk ($version) unstable; urgency=medium" ] || fail "$(cat changelog)"
if command -v dpkg-parsechangelog >/dev/null; then
    dpkg-parsechangelog -l changelog >log || fail "$(cat log)"
    if grep -q warning log || ! grep -q "^Date: .* +0000" log; then fail "$(cat log)"; fi
fi
sed -i 's/^PORT=.*/PORT=0/' /etc/default/ropewalk-server
head -c 3000000 /dev/urandom >/srv/ropewalk/file
service=/etc/init.d/ropewalk-server
status() { code=0; "$service" status >log || code=$?; [ "$code" = "$1" ] || fail "status: $code"; }
status 3
"$service" start >log || fail "$(cat log /var/log/ropewalk-server.log)"
port=$(sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' log)
status 0
"$service" start | grep -q "runs already" || fail "a second one was started"
ropewalk-client -q "127.0.0.1:$port" 4 file out
cmp out /srv/ropewalk/file
if ropewalk-client -q "127.0.0.1:$port" 4 /etc/passwd stolen 2>log; then fail "outside of /srv"; fi
read -r pid </run/ropewalk-server.pid
[ "$(stat -c %U "/proc/$pid")" = ropewalk ] || fail "it runs as $(stat -c %U "/proc/$pid")"
if ropewalk-client -q --push "127.0.0.1:$port" 4 out incoming/no 2>log; then fail "writable"; fi
grep -q "this server takes no uploads" log || fail "$(cat log)"
# Users other than root can neither see whether the server runs nor stop it, and the script says so.
for action in status stop try-restart; do
    code=0
    setpriv --reuid 1 --regid 1 --clear-groups "$service" "$action" >log 2>&1 || code=$?
    [ "$code" = 4 ] || fail "$action by another user: $code, $(cat log)"
    grep -q "only root sees whether process $pid is the server" log || fail "$(cat log)"
done
# The server continues in the log that logrotate has emptied.
logged() { for _ in 1 2 3 4 5; do ! grep -aq "$2" "$1" || return 0; sleep 1; done; return 1; }
current=/var/log/ropewalk-server.log
if command -v logrotate >/dev/null; then
    logged "$current" complete || fail "$(cat "$current")"
    logrotate --force --state /tmp/rotated /etc/logrotate.d/ropewalk-server >log 2>&1 || fail "$(cat log)"
    [ -e "$current.1.gz" ] && [ ! -s "$current" ] || fail "not rotated: $(ls -l "$current"*)"
    ropewalk-client -q "127.0.0.1:$port" 4 file again
    logged "$current" complete || fail "it logs no more: $(ls -l "$current"*)"
    [ "$(tr -dc '\0' <"$current" | wc -c)" = 0 ] || fail "it logs behind a hole"
fi
"$service" stop >log
status 3
[ ! -e "/proc/$pid" ] || fail "it does not stop"
# With the line of the settings file, users may send files and folders. The system is as the unit
# makes it: everything can only be read but the folder, which is a mount point then.
echo ann:sesame >login
install -m 600 -o ropewalk login /etc/ropewalk.users
chmod 600 login
sed -i 's/^#\(OPTIONS="--writable\)/\1/' /etc/default/ropewalk-server
cat >as-the-unit <<'UNIT'
mount --bind "$1" "$1"
mount -o remount,bind,ro /
mount -t tmpfs tmpfs /var/log
exec "$2" start
UNIT
sed -n 's/^UMask=/umask /p' "$unit" >with-umask
[ -s with-umask ] || fail "the unit has no umask"
cat as-the-unit >>with-umask
unshare -m sh -eu with-umask "$incoming" "$service" >log 2>&1 || fail "$(cat log)"
port=$(sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' log)
mkdir -p pushed/sub
cp out pushed/sub/file
if ropewalk-client -q --push "127.0.0.1:$port" 4 out incoming/out 2>log; then fail "no password"; fi
ropewalk-client -q --auth login --push "127.0.0.1:$port" 4 out incoming/out 2>log || fail "$(cat log)"
ropewalk-client -q --auth login --push "127.0.0.1:$port" 4 pushed incoming/top 2>log || fail "$(cat log)"
cmp out "$incoming/out"
cmp out "$incoming/top/sub/file"
[ "$(stat -c '%U %G %a' "$incoming/out")" = "ropewalk ropewalk 640" ] || fail "$(ls -l "$incoming")"
if ropewalk-client -q --auth login --push "127.0.0.1:$port" 4 out new 2>log; then fail "outside"; fi
grep -q "nothing may be written there" log || fail "$(cat log)"
rm -r "$incoming/out" "$incoming/top" /etc/ropewalk.users
sed -i 's/^\(OPTIONS="--writable\)/#\1/' /etc/default/ropewalk-server
"$service" stop >log
# If another program has taken the process id since, it is not taken for the server.
sleep 60 &
echo $! >/run/ropewalk-server.pid
status 3
kill $!
"$service" stop >log
# After an upgrade the server is another process, and the script still finds it.
"$service" start >log
read -r pid </run/ropewalk-server.pid
echo 101 >policy
dpkg --install package.deb >log 2>&1 || fail "$(cat log)"
[ -e "/proc/$pid" ] || fail "stopped by an upgrade, against policy-rc.d"
echo 0 >policy
dpkg --install package.deb >log 2>&1 || fail "$(cat log)"
[ ! -e "/proc/$pid" ] || fail "upgraded, and the old one still runs"
status 0
"$service" stop >log
# A stopped server stays stopped.
dpkg --install package.deb >log 2>&1 || fail "$(cat log)"
status 3
"$service" try-restart >log
status 3
# A server that cannot start says so.
sed -i 's|^ROOT=.*|ROOT=/nonexistent|' /etc/default/ropewalk-server
if "$service" start >log 2>&1; then fail "started without a folder"; fi
grep -q "did not start" log || fail "$(cat log)"
sed -i 's|^ROOT=.*|ROOT=/srv/ropewalk|' /etc/default/ropewalk-server
"$service" start >log
read -r pid </run/ropewalk-server.pid
dpkg --remove ropewalk >log 2>&1 || fail "$(cat log)"
[ ! -e "/proc/$pid" ] || fail "removed, and it still runs"
[ ! -e /usr/bin/ropewalk-server ] && [ -e /etc/default/ropewalk-server ] || fail "removal"
rm /srv/ropewalk/file
dpkg --purge ropewalk >log 2>&1 || fail "$(cat log)"
left=$(find /etc /usr /srv /var/log -xdev -newer package.deb -name '*ropewalk*')
[ -z "$left" ] || fail "it left $left"

# A server that cannot be stopped or restarted can still be upgraded and removed.
dpkg --install package.deb >log 2>&1 || fail "$(cat log)"
echo 'exit 1' >>/etc/default/ropewalk-server
dpkg --install package.deb >log 2>&1 || fail "$(cat log)"
dpkg --purge ropewalk >log 2>&1 || fail "$(cat log)"
# The same holds if systemctl fails. Its arguments are recorded.
mkdir -p /run/systemd/system
printf '#!/bin/sh\necho "$*" >>/tmp/asked\nexit 1\n' >/usr/local/bin/systemctl
chmod 755 /usr/local/bin/systemctl
asked() { grep -q -- "$*" asked || fail "systemd was not asked to $*, but to $(cat asked)"; }
dpkg --install package.deb >log 2>&1 || fail "$(cat log)"
asked daemon-reload
link=/etc/systemd/system/sockets.target.wants/ropewalk-server.socket
mkdir -p "${link%/*}"
ln -s /lib/systemd/system/ropewalk-server.socket "$link"
dpkg --install package.deb >log 2>&1 || fail "$(cat log)"
asked try-restart ropewalk-server.service
if [ -e /lib/lsb/init-functions.d/40-systemd ]; then
    # In a subshell: as a child of process 1, the script would start the server itself.
    if ("$service" start >log; exit $?); then fail "$(cat log)"; fi
    asked start ropewalk-server.service
fi
echo 101 >policy
: >asked
dpkg --remove ropewalk >log 2>&1 || fail "$(cat log)"
if grep stop asked; then fail "stopped against policy-rc.d"; fi
echo 0 >policy
dpkg --install package.deb >log 2>&1 || fail "$(cat log)"
dpkg --purge ropewalk >log 2>&1 || fail "$(cat log)"
asked stop ropewalk-server.socket ropewalk-server.service
[ ! -L "$link" ] || ! command -v deb-systemd-helper >/dev/null || fail "it left $link"
INSIDE
unshare -mpf --kill-child sh "$folder/overlay" "$folder" try 2>"$folder/why" || skip "no overlay to be had ($(head -n 1 "$folder/why"))"
unshare -mpf --kill-child sh "$folder/overlay" "$folder"
