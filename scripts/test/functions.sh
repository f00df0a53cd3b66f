#!/bin/sh
# Checks that scripts/check/functions.awk finds functions of more than 70 lines, and only those.
set -eu
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Prints a function of so many lines, indented by these spaces.
function_of() {
    awk -v name="$1" -v lines="$2" -v space="$3" 'BEGIN {
        print space "pub(crate) fn " name "<T>("
        print space "    a: T,"
        print space ") -> T {"
        for (i = 5; i <= lines; i++) print space (i % 2 ? "    if a {" : "    }")
        print space "}"
    }'
}
expect() {
    found=$(cd "$folder" && awk -f "$OLDPWD/scripts/check/functions.awk" -- a.rs b.rs tests.rs)
    [ "$found" = "$1" ] || { echo "functions: '$found' instead of '$1'" >&2; exit 1; }
}

# 70 lines are allowed, also in a row and after declarations without a body.
{
    printf 'trait T {\n    fn declared(\n        &self,\n    ) -> u8;\n    fn short(&self);\n'
    function_of method 70 '    '
    printf '}\n\nfn empty() {}\n'
    function_of exact 70 ''
    function_of other 70 ''
} >"$folder/a.rs"
# Unit tests do not count.
{
    printf '#[cfg(test)]\nmod tests {\n'
    function_of tested 90 '    '
    printf '}\n'
} >"$folder/b.rs"
function_of tested 90 '' >"$folder/tests.rs"
expect ''

# A method, and a function with another function inside: both count.
{
    printf 'impl A {\n'
    function_of method 71 '    '
    printf '}\n'
} >"$folder/a.rs"
{
    echo 'fn outer() {'
    function_of inner 72 '    '
    printf '}\n\n'
    cat "$folder/b.rs"
} >"$folder/new.rs"
mv "$folder/new.rs" "$folder/b.rs"
expect 'a.rs:2: method has 71 lines
b.rs:2: inner has 72 lines
b.rs:1: outer has 74 lines'
