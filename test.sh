#!/bin/sh
# All tests: the unit tests, those that go through the real programs, and the scripts.
# `make test` builds the release programs first.
set -eu
cd "$(dirname "$0")"
cargo=${CARGO:-cargo}
$cargo test --locked --quiet --target-dir target
for script in scripts/test-*.sh; do
    echo "$script"
    sh "$script"
done
