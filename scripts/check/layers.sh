#!/bin/sh
# Checks what the compiler does not check. Each layer imports only itself and layers to its left. No
# files import each other in a circle. Only some files hold unsafe code. Every file says what it
# owns. No function has more than 70 lines.
set -u
cd "$(dirname "$0")/../.." || exit 1
status=0
complain() { echo "check/layers: $*" >&2; status=1; }

# error <- sys <- hash <- codec <- transfer <- app
layers="error sys hash codec transfer app"
forbidden=$layers
for layer in $layers; do
    forbidden=${forbidden#"$layer"}
    forbidden=${forbidden# }
    files=$(find "src/common/$layer" "src/common/$layer.rs" -name '*.rs' 2>/dev/null)
    for other in $forbidden; do
        # shellcheck disable=SC2086
        found=$(grep -nE "(crate::|super::super::|\{)[[:space:]]*$other(::|,|\})" $files /dev/null |
            grep -E "crate::|super::super::" | grep -v '//')
        [ -z "$found" ] || complain "layer $layer uses $other:" "$found"
    done
done

for part in src/common src/bin/*; do
    # shellcheck disable=SC2046
    circles=$(awk -f scripts/check/circles.awk -- $(find "$part" -name '*.rs' | sort)) ||
        complain "scripts/check/circles.awk has failed"
    [ -z "$circles" ] || complain "files that import each other:" "$circles"
done

for file in $(find src tests -name '*.rs'); do
    head -n 1 "$file" | grep -q '^//!' || complain "$file does not begin with //!"
    case $file in
        src/common/lib.rs | src/common/sys.rs | src/common/sys/*) continue ;;
        src/common/hash.rs | src/common/hash/crc32c.rs | src/common/hash/sha256.rs) continue ;;
        src/common/hash/*/x86.rs | src/common/hash/*/arm.rs) continue ;;
        src/common/*.rs | src/bin/*/main.rs) ;;
        *) continue ;;
    esac
    case $file in
        # A list of other modules: each module forbids unsafe code itself.
        src/common/codec.rs | src/common/transfer.rs | src/common/app.rs) continue ;;
        # The tests of a module that forbids unsafe code.
        */tests.rs) continue ;;
    esac
    grep -q '^#!\[forbid(unsafe_code)\]' "$file" || complain "$file does not forbid unsafe code"
done

for file in $(grep -rlE 'libc::off_t|as off_t' src); do
    complain "$file names an offset type that has 32 bits on some systems"
done

# shellcheck disable=SC2046
long=$(awk -f scripts/check/functions.awk -- $(find src -name '*.rs' | sort)) ||
    complain "scripts/check/functions.awk has failed"
[ -z "$long" ] || complain "functions of more than 70 lines:" "$long"
exit $status
