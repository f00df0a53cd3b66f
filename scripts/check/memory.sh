#!/bin/sh
# Searches for wrong uses of memory with the tools of a nightly toolchain. Miri runs the unit tests
# of pure code. AddressSanitizer runs all tests, so also those that make system calls.
#
#   scripts/check/memory.sh [miri|asan]...     both, if none is named
#
#   rustup toolchain install nightly --component miri,rust-src
#
# Miri takes a thousand times as long: minutes in place of seconds. Tests that repeat themselves
# often do so less under Miri (`cfg!(miri)`).
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
cargo=${CARGO:-cargo}
target=${TARGET_DIR:-target}
host=$(rustc -vV | sed -n 's/^host: //p')

# Code that makes no system call, except for the time and for random bytes.
pure="error:: hash:: codec:: app::options
    transfer::classic::blocks transfer::queue::growth transfer::meter transfer::queue transfer::queue::ranges
    transfer::queue::rate transfer::store::ring transfer::link::token transfer::trace transfer::queue::window"

# The same of the server.
pure_server="auth::nonces:: conditions:: digests::turns:: digests::remembered::"

# Miri knows these instructions, but accepts them only if the compiler may use them too.
case $host in
    x86_64-*) features="-C target-feature=+sse4.2,+ssse3,+sha" ;;
    *) features= ;;
esac

for tool in ${*:-miri asan}; do
    echo "$script: $tool"
    # shellcheck disable=SC2086
    case $tool in
        miri)
            MIRIFLAGS="-Zmiri-disable-isolation" RUSTFLAGS="$features" \
                $cargo +nightly miri test --locked --target-dir "$target/miri" --lib -- $pure
            MIRIFLAGS="-Zmiri-disable-isolation" RUSTFLAGS="$features" \
                $cargo +nightly miri test --locked --target-dir "$target/miri" --bin server -- \
                $pure_server
            ;;
        asan)
            # The standard library is built with AddressSanitizer as well, which then checks its
            # uses of memory too.
            RUSTFLAGS="-Zsanitizer=address" $cargo +nightly test --locked \
                --target-dir "$target/asan" -Zbuild-std --target "$host" --lib --bins
            ;;
        *) echo "$script: $tool is neither miri nor asan" >&2; exit 2 ;;
    esac
done
