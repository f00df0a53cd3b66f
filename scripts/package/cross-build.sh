#!/bin/sh
# Builds the four programs for other machines, and prints their sizes.
#
#   scripts/package/cross-build.sh [TRIPLE...]     leaves target/TRIPLE/release/{server,client,...}
#
# Without a triple, builds for all machines that are listed here. Names and skips a machine whose
# linker or standard library is missing. A C cross compiler is a package of the system
# (gcc-arm-linux-gnueabihf and libc6-dev-armhf-cross on Debian). The library comes from rustup
# (`rustup target add TRIPLE`), or from a compiler that RUSTC names.
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
cargo=${CARGO:-cargo}
target=${TARGET_DIR:-target}
known="aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf i686-unknown-linux-gnu
    s390x-unknown-linux-gnu"

linker() {
    case $1 in
        aarch64-*) echo aarch64-linux-gnu-gcc ;;
        arm*-gnueabihf) echo arm-linux-gnueabihf-gcc ;;
        i?86-*) echo i686-linux-gnu-gcc ;;
        *-unknown-linux-gnu) echo "${1%%-*}-linux-gnu-gcc" ;;
        *) echo "no-linker-is-known-for-$1" ;;
    esac
}

built=0
for triple in ${*:-$known}; do
    linker=$(linker "$triple")
    if ! have "$linker"; then
        skipped "$triple needs $linker"
        continue
    fi
    library=$(${RUSTC:-rustc} --print target-libdir --target "$triple" 2>/dev/null || true)
    if [ -z "$(find "$library" -name 'libstd-*.rlib' 2>/dev/null)" ]; then
        skipped "$triple: ${RUSTC:-rustc} has no standard library for it"
        continue
    fi
    variable=$(echo "CARGO_TARGET_${triple}_LINKER" | tr 'a-z-' 'A-Z_')
    env "$variable=$linker" $cargo build --quiet --release --locked \
        --target "$triple" --target-dir "$target"
    for program in server client sender receiver; do
        size=$(wc -c <"$target/$triple/release/$program")
        printf '%s: %s has %d bytes\n' "$triple" "$program" "$size"
    done
    built=$((built + 1))
done
[ "$built" -gt 0 ] || fail "nothing was built"
