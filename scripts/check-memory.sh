#!/bin/sh
# Looks for wrong uses of memory with the tools of a nightly toolchain: Miri runs the unit
# tests of pure code, AddressSanitizer those that make system calls.
#
#   scripts/check-memory.sh [miri|asan]...     both, if none is named
#
#   rustup toolchain install nightly --component miri,rust-src
#
# Miri takes a thousand times as long: half an hour for what takes seconds. It sees the
# processor's own instructions for hashes only where it knows them itself; the rest of it
# takes the portable way.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
target=${TARGET_DIR:-target}

# Code that makes no system call, besides asking for the time.
pure="error:: hash:: codec:: app::options transfer::blocks transfer::queue transfer::ranges
    transfer::session transfer::window"

# Code that does.
impure="sys:: transfer:: app::"

for tool in ${*:-miri asan}; do
    echo "check-memory: $tool"
    # shellcheck disable=SC2086
    case $tool in
        miri)
            MIRIFLAGS="-Zmiri-disable-isolation" $cargo +nightly miri test --locked \
                --target-dir "$target/miri" --lib -- $pure
            ;;
        asan)
            RUSTFLAGS="-Zsanitizer=address" $cargo +nightly test --locked \
                --target-dir "$target/asan" -Zbuild-std \
                --target "$(rustc -vV | sed -n 's/^host: //p')" --lib -- $impure
            ;;
        *) echo "check-memory: $tool is neither miri nor asan" >&2; exit 2 ;;
    esac
done
