#!/bin/sh
# Checks that the documents agree with the sources. Every option that they name exists. Every exit
# code has a row in the client's man page. README.md is within its limit. Every file that a document
# or a comment names exists. Every link between documents leads somewhere. PROTOCOL.md has the
# golden bytes.
set -u
cd "$(dirname "$0")/../.." || exit 1
status=0
complain() { echo "check/papers: $*" >&2; status=1; }
papers="README.md ARCHITECTURE.md CONTRIBUTING.md PROTOCOL.md SECURITY.md CHANGELOG.md docs/*.md tests/README.md"

lines=$(wc -l <README.md)
[ "$lines" -le 120 ] || complain "README.md has $lines lines; 120 is the most"

# Options of other programs that the documents show.
foreign="ask-password body-file checksum digest http-url jobs inplace method now partial system tag"
options=$(sed -n 's/.*long: "\([a-z0-9-]*\)".*/\1/p' src/common/app/programs.rs src/common/app/programs/*.rs)
[ -n "$options" ] || complain "no option found in src/common/app/programs.rs"
known=" help version $(echo $options $foreign) "
for paper in README.md docs/GUIDE.md docs/LIMITS.md docs/INSTALL.md SECURITY.md; do
    for option in $(grep -oE -- '(^|[^a-z0-9-])--[a-z][a-z0-9-]+' "$paper" | sed 's/^[^-]*--//' | sort -u); do
        case $known in *" $option "*) ;; *) complain "$paper names --$option, which does not exist" ;; esac
    done
done

codes=$(sed -n '/^pub enum ExitCode/,/^}/s/.* = \([0-9][0-9]*\),.*/\1/p' src/common/error.rs)
[ -n "$codes" ] || complain "no exit code found in src/common/error.rs"
for code in $codes; do
    grep -q "^.fB$code.fR" share/man/man1/ropewalk-client.1 ||
        complain "ropewalk-client(1) has no row for exit code $code"
done

# A link to a file, or to a heading of a file: in lower case, with dashes for spaces.
anchors() { sed -n 's/^#* //p' "$1" | tr 'A-Z ' 'a-z-' | tr -cd 'a-z0-9\n-'; }
for paper in $papers; do
    for link in $(grep -oE '\]\([^)]*\)' "$paper" | sed 's/^](//; s/)$//' | grep -v '^http' | sort -u); do
        file=$(dirname "$paper")/${link%%#*}
        [ -n "${link%%#*}" ] || file=$paper
        [ -e "$file" ] || { complain "$paper links to $link, which does not exist"; continue; }
        case $link in *'#'*)
            anchors "$file" | grep -qx -- "${link#*#}" || complain "$paper links to $link, which is no heading" ;;
        esac
    done
done

for paper in $papers; do
    # The shell expands a name with a star. Without a match, the name stays unchanged.
    for path in $(grep -oE '(src|scripts|tests|docs|fuzz|packaging|tools)/[A-Za-z0-9_./*-]*' "$paper" | sed 's/\.$//' | sort -u); do
        [ -e "$path" ] || complain "$paper names $path, which does not exist"
    done
done

# A comment may name a file from the top of the repository, or from a folder that the comment's own
# file is in: `layers.sh`, `check/layers.sh`. Prints FILE:LINE:NAME.
named_in_comments() {
    find src tests scripts fuzz packaging tools Makefile test.sh .ci Cargo.toml -type f \
        ! -path 'fuzz/corpus/*' ! -path '*/target/*' -exec awk '
        {
            mark = FILENAME ~ /\.rs$/ ? "//" : FILENAME ~ /\.c$/ ? "^ *(/[*]| [*]|[*])|/[*]" : "(^|[ \t])#"
            if (!match($0, mark)) next
            text = substr($0, RSTART)
            while (match(text, /[A-Za-z0-9_.\/*-]+/)) {
                name = substr(text, RSTART, RLENGTH)
                text = substr(text, RSTART + RLENGTH)
                sub(/[.\/]+$/, "", name)
                if (name ~ /^[*\/]/) continue
                if (name ~ /^(src|scripts|tests|docs|fuzz|packaging|share|tools)\// || name ~ /\.(rs|sh|md|awk|py|c)$/)
                    print FILENAME ":" FNR ":" name
            }
        }' {} +
}
# exists_near FILE NAME: whether a folder of FILE, or one above it, has NAME.
exists_near() {
    folder=$1
    until [ "$folder" = . ]; do
        folder=$(dirname "$folder")
        for path in "$folder"/$2; do [ -e "$path" ] && return; done
    done
    return 1
}
for named in $(named_in_comments); do
    file=${named%%:*} name=${named##*:}
    [ -e "$name" ] || exists_near "$file" "$name" ||
        complain "${named%:*} names $name, which does not exist"
done

golden=$(grep -oE '"[0-9a-f]{48,}"' src/common/codec/wire/tests.rs | tr -d '"')
[ -n "$golden" ] || complain "no golden bytes found in src/common/codec/wire/tests.rs"
for bytes in $golden; do
    grep -qx "    $bytes" PROTOCOL.md || complain "PROTOCOL.md lacks the golden bytes $bytes"
done
exit $status
