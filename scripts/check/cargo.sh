#!/bin/sh
# Says in one line what is missing if cargo is not installed, or too old.
set -u
cargo=${CARGO:-cargo}
needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
if ! found=$($cargo --version 2>/dev/null); then
    echo "cargo was not found: ropewalk is built with Rust $needed or newer" >&2
    exit 1
fi
version=$(printf '%s\n' "$found" | sed -n 's/^cargo \([0-9][0-9]*\.[0-9][0-9]*\).*/\1/p')
oldest=$(printf '%s\n%s\n' "$needed" "$version" | sort -t. -k1,1n -k2,2n | head -n 1)
if [ "$oldest" != "$needed" ]; then
    echo "$found is too old: ropewalk is built with Rust $needed or newer" >&2
    exit 1
fi
