#!/bin/sh
# One stream of four is held to 1 MB/s, and the others to 30 MB/s. Prints how long the fetch takes
# beside the ideal. The relay of the end-to-end tests slows the streams.
set -eu
cd "$(dirname "$0")/../.."
${CARGO:-cargo} test --release --locked --quiet --target-dir target --test e2e -- \
    --ignored --nocapture --exact transfer::slow_stream::one_slow_stream_of_four_takes_little_longer_than_the_ideal |
    grep '^one stream'
