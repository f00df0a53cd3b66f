#!/bin/sh
# Prints a port of loopback that nobody listens on, for programs that cannot choose one
# themselves.
set -eu
used=$(awk 'NR > 1 { split($2, part, ":"); print part[2] }' /proc/net/tcp /proc/net/tcp6)
port=$((20000 + $$ % 10000))
while printf '%s\n' "$used" | grep -qi "^$(printf '%04X' "$port")\$"; do port=$((port + 1)); done
echo "$port"
