#!/bin/sh
# Makes dist/ropewalk-VERSION.tar.gz of HEAD: one folder, with the crates in vendor/ and a
# configuration of cargo that uses them. It builds without a network. The same commit and the same
# cargo always give the same bytes.
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
cargo=${CARGO:-cargo}
umask 022
if [ "$(git rev-parse --show-toplevel 2>/dev/null)" != "$(pwd -P)" ]; then
    echo "make dist: works in a clone only; an unpacked tarball is what it makes" >&2
    exit 1
fi
[ -z "$(git status --porcelain --untracked-files=no)" ] ||
    echo "make dist: what is not committed is left out" >&2
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
name=ropewalk-$version
time=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct HEAD)}
mkdir -p dist
make_folder dist

git archive --prefix="$name/" HEAD | tar -x -C "$folder"
(
    cd "$folder/$name"
    mkdir .cargo
    # cargo prints the configuration that it needs, but not with --quiet.
    $cargo vendor --locked --versioned-dirs vendor >.cargo/config.toml 2>../log || { cat ../log >&2; exit 1; }
)
tar -c -C "$folder" --format=ustar --sort=name --mtime="@$time" --mode=u=rwX,go=rX \
    --owner=0 --group=0 --numeric-owner "$name" | gzip -9n >"$folder/$name.tar.gz"
mv "$folder/$name.tar.gz" "dist/$name.tar.gz"
echo "dist/$name.tar.gz"
