#!/bin/sh
# A second implementation, written from PROTOCOL.md alone, fetches from the server and serves the
# client: with one stream and several, holes, damage, another session, and a resume. PROGRAMS is the
# folder of the programs.
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
have python3 || skip "python3 is not installed"
PYTHONDONTWRITEBYTECODE=1 python3 tests/protocol/second.py "${PROGRAMS:-.}"
