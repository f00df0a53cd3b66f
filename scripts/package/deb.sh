#!/bin/sh
# Makes dist/ropewalk_VERSION_ARCHITECTURE.deb of the programs that make has built. Needs dpkg-deb.
# DEB_ARCHITECTURE names another machine, for which make has just built the programs.
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
umask 022
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
architecture=${DEB_ARCHITECTURE:-$(dpkg --print-architecture)}
if [ -z "${DEB_ARCHITECTURE-}" ]; then
    for program in server client sender receiver; do
        found=$("./$program" --version 2>&1) || true
        [ "$found" = "ropewalk $program $version" ] || {
            echo "./$program is not of version $version, but says $found: build it first" >&2
            exit 1
        }
    done
fi
# dpkg-deb and gzip take their time stamps from this.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct HEAD 2>/dev/null || date -r Cargo.toml +%s)}
export SOURCE_DATE_EPOCH
mkdir -p dist
make_folder dist
root=$folder/root
install -d "$root/DEBIAN"

make --no-print-directory install DESTDIR="$PWD/$root" PREFIX=/usr >/dev/null
# Debian's zsh looks for completions in another folder than zsh's own default.
mv "$root/usr/share/zsh/site-functions" "$root/usr/share/zsh/vendor-completions"
gzip -9n "$root"/usr/share/man/man1/*
documents=$root/usr/share/doc/ropewalk
install -d "$documents"
install -m 644 README.md SECURITY.md PROTOCOL.md CHANGELOG.md "$documents"
install -D -m 644 -t "$documents/docs" docs/GUIDE.md docs/INSTALL.md docs/LIMITS.md
install -m 644 LICENSE "$documents/copyright"
# Debian has its own form for this file. CHANGELOG.md lists the changes.
gzip -9n >"$documents/changelog.gz" <<CHANGELOG
ropewalk ($version) unstable; urgency=medium

  * Version $version. What is new is in /usr/share/doc/ropewalk/CHANGELOG.md.

 -- $(sed -n 's/^Maintainer: //p' packaging/debian/control)  $(LC_ALL=C date -uRd "@$SOURCE_DATE_EPOCH")
CHANGELOG
install -D -m 644 -t "$root/usr/lib/systemd/system" packaging/systemd/*
install -D -m 644 -t "$root/usr/lib/tmpfiles.d" packaging/tmpfiles/ropewalk-server.conf
install -D -m 755 -t "$root/etc/init.d" packaging/init/ropewalk-server
install -D -m 644 packaging/default "$root/etc/default/ropewalk-server"
install -D -m 644 packaging/logrotate "$root/etc/logrotate.d/ropewalk-server"
# Debian's OpenRC runs the init script. The OpenRC script is for users that prefer it.
install -D -m 755 -t "$documents/examples/openrc" packaging/openrc/ropewalk-server
install -D -m 755 -t "$documents/examples/fleet" packaging/fleet/ropewalk-spread
install -D -m 644 -t "$documents/examples/fleet" packaging/fleet/ropewalk-spread@.service

# The oldest C library with every symbol that the programs need. Static programs need none.
programs="$root/usr/bin/ropewalk-server $root/usr/bin/ropewalk-client \
    $root/usr/libexec/ropewalk/sender $root/usr/libexec/ropewalk/receiver"
# shellcheck disable=SC2086
library=$(grep -aoh 'GLIBC_2\.[0-9.]*' $programs | sort -uV | tail -n 1)
depends=
# shellcheck disable=SC2086
if grep -qa 'libc\.so\.6' $programs; then
    depends="libc6 (>= ${library#GLIBC_})"
    if grep -qa 'libgcc_s\.so\.1' $programs; then depends="$depends, libgcc-s1"; fi
fi
size=$(du -sk --apparent-size "$root" | cut -f 1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@SIZE@/$size/" \
    -e "s/@DEPENDS@/$depends/" -e '/^Depends: $/d' packaging/debian/control >"$root/DEBIAN/control"
(cd "$root" && find etc -type f | sort | sed 's|^|/|') >"$root/DEBIAN/conffiles"
install -m 755 packaging/debian/postinst packaging/debian/prerm packaging/debian/postrm "$root/DEBIAN"
(cd "$root" && find usr -type f | LC_ALL=C sort | xargs md5sum) >"$root/DEBIAN/md5sums"
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

package=dist/ropewalk_${version}_$architecture.deb
dpkg-deb --root-owner-group "-Z${DEB_COMPRESSION:-xz}" --build "$root" "$package" >/dev/null
echo "$package"
