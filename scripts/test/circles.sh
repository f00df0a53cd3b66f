#!/bin/sh
# Checks that scripts/check/circles.awk finds circles of files, and only circles.
set -eu
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
program=$folder/src/bin/server
mkdir -p "$program/inner"

# Runs the script in $folder over all files there.
circles() {
    (cd "$folder" && awk -f "$OLDPWD/scripts/check/circles.awk" -- $(find src -name '*.rs' | sort))
}
expect() {
    found=$(circles)
    [ "$found" = "$1" ] || { echo "circles: '$found' instead of '$1'" >&2; exit 1; }
}

printf 'mod a;\nmod b;\nmod inner;\n' >"$program/main.rs"
# A file and the files above it in its own folder are one module.
printf 'mod leaf;\npub struct Thing;\n' >"$program/inner.rs"
echo 'use super::Thing;' >"$program/inner/leaf.rs"
# A name in a comment or a test is no import.
printf '// crate::a::x\n#[cfg(test)]\nmod tests {\n    use crate::a::x;\n}\n' >"$program/b.rs"
printf 'use crate::{\n    b::x,\n    inner::{self, Thing},\n};\n' >"$program/a.rs"
expect ''

# A path in the text is an import, and a circle may go through a folder.
echo 'fn f() { crate::a::f() }' >>"$program/inner/leaf.rs"
expect 'src/bin/server/a.rs -> src/bin/server/inner.rs -> src/bin/server/inner/leaf.rs -> src/bin/server/a.rs
src/bin/server/inner.rs -> src/bin/server/inner/leaf.rs -> src/bin/server/a.rs -> src/bin/server/inner.rs
src/bin/server/inner/leaf.rs -> src/bin/server/a.rs -> src/bin/server/inner.rs -> src/bin/server/inner/leaf.rs'
