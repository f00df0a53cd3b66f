#!/bin/sh
# One stream of four held to 1 MB/s while three run at 30: how long it takes beside the
# ideal. The relay that slows them is that of the end-to-end tests.
set -eu
cd "$(dirname "$0")/../.."
${CARGO:-cargo} test --release --locked --quiet --target-dir target --test e2e -- \
    --ignored --nocapture --exact transfer::slow_stream::one_slow_stream_of_four_takes_little_longer_than_the_ideal |
    grep '^one stream'
