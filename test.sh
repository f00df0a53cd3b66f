#!/bin/sh
# All tests: the unit tests, those that go through the real programs, and the scripts.
# `make test` builds the release programs first.
set -eu
cd "$(dirname "$0")"
cargo=${CARGO:-cargo}
# Most tests wait for programs and clocks, not for the processor.
RUST_TEST_THREADS=${RUST_TEST_THREADS:-6}
export RUST_TEST_THREADS
$cargo test --locked --quiet --target-dir target
for script in scripts/test/*.sh; do
    echo "$script"
    sh "$script"
done
