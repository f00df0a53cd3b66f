#!/bin/sh
# Checks that the papers keep to the sources: every option and every exit code is in
# README.md, every file that the papers name exists, and PROTOCOL.md has the golden bytes
# of the data streams.
set -u
cd "$(dirname "$0")/.." || exit 1
status=0
complain() { echo "check-papers: $*" >&2; status=1; }

# section TITLE: the part of README.md under that heading.
section() { awk -v title="## $1" '/^## / { on = ($0 == title) } on' README.md; }

options=$(sed -n 's/.*long: "\([a-z0-9-]*\)".*/\1/p' src/common/app/programs.rs src/common/app/programs/*.rs)
[ -n "$options" ] || complain "no option found in src/common/app/programs.rs"
for option in $options; do
    section Options | grep -qE -- "--$option([^a-z0-9-]|\$)" ||
        complain "README.md does not name --$option among the options"
done

codes=$(sed -n '/^pub enum ExitCode/,/^}/s/.* = \([0-9][0-9]*\),.*/\1/p' src/common/error.rs)
[ -n "$codes" ] || complain "no exit code found in src/common/error.rs"
for code in $codes; do
    section "Exit codes" | grep -q "^| $code |" || complain "README.md has no row for exit code $code"
done

for paper in README.md ARCHITECTURE.md PROTOCOL.md SECURITY.md CHANGELOG.md docs/*.md; do
    # The shell expands a name with a star; one that nothing matches stays as it is.
    for path in $(grep -oE '(src|scripts|tests|docs|fuzz)/[A-Za-z0-9_./*-]*' "$paper" | sed 's/\.$//' | sort -u); do
        [ -e "$path" ] || complain "$paper names $path, which does not exist"
    done
done
golden=$(grep -oE '"[0-9a-f]{48,}"' src/common/codec/wire/tests.rs | tr -d '"')
[ -n "$golden" ] || complain "no golden bytes found in src/common/codec/wire/tests.rs"
for bytes in $golden; do
    grep -qx "    $bytes" PROTOCOL.md || complain "PROTOCOL.md lacks the golden bytes $bytes"
done
exit $status
