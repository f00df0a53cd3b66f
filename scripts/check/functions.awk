# Prints each function that has more than 70 lines, with its file and its first line.
#
#   awk -f scripts/check/functions.awk -- FILE...
#
# The files are formatted by rustfmt: a function ends with the first `}` that has the indentation of
# its `fn`. The signature, both braces and functions inside count. Unit tests do not count: they are
# the end of a file, or a separate file.

BEGIN { MOST = 70 }
FNR == 1 {
    depth = is_test = 0
    in_tests = FILENAME ~ /(^|\/)tests(\.rs$|\/)/
}
/^#\[cfg\(test\)\]/ { is_test = 1; next }
is_test && /^mod .*\{/ { in_tests = 1 }
!/^#/ { is_test = 0 }
in_tests { next }

/^ *(pub(\([^)]*\))? )?(const )?(async )?(unsafe )?(extern "[^"]*" )?fn [a-z]/ && !/[;}]$/ {
    match($0, /^ */)
    indent[++depth] = RLENGTH
    start[depth] = FNR
    name[depth] = $0
    sub(/^.*fn /, "", name[depth])
    sub(/[(<].*/, "", name[depth])
    next
}

# The end of a function, or of a declaration without a body.
depth && (/^ *\}$/ || /^ *\).*;$/) {
    match($0, /^ */)
    if (RLENGTH != indent[depth]) next
    lines = FNR - start[depth] + 1
    if (lines > MOST) print FILENAME ":" start[depth] ": " name[depth] " has " lines " lines"
    depth--
}
