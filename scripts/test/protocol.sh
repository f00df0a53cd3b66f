#!/bin/sh
# A second implementation, written from PROTOCOL.md alone, fetches from the server and serves
# the client: with one stream and several, holes, damage, another session, and a resume.
# PROGRAMS is the folder of the programs.
set -eu
cd "$(dirname "$0")/../.."
if ! command -v python3 >/dev/null; then
    echo "python3 is not here: the second implementation was not tried"
    exit 0
fi
PYTHONDONTWRITEBYTECODE=1 python3 tests/protocol/second.py "${PROGRAMS:-.}"
