#!/bin/sh
# Changes the code of one layer in one place at a time. Lists the changes that no unit test of the
# layer notices. docs/MUTANTS.md has the last results.
#
#   scripts/check/mutants.sh codec                          all of src/common/codec
#   TESTS=transfer::queue::ranges scripts/check/mutants.sh transfer -f '*/ranges.rs'
#                                                           one file, by its own tests
#   scripts/check/mutants.sh codec --iterate                what survived last time
#
# Arguments after the layer go to cargo-mutants. The script needs cargo and cargo-mutants 27 (`cargo
# install --locked cargo-mutants`), and installs nothing. A whole layer takes an hour or two of one
# core.
#
# Copies the layer and the layers below it to a separate package under
# ${TMPDIR:-/tmp}/ropewalk-mutants. The package lacks the programs and the tests that start them, so
# each change takes seconds to compile. Results are in LAYER/mutants.out there.
set -eu

layer=${1:-}
case "$layer" in
codec) layers='error hash codec' ;;
transfer) layers='error sys hash codec transfer' ;;
*)
    echo "usage: scripts/check/mutants.sh codec|transfer [ARGUMENT OF cargo mutants]..." >&2
    exit 2
    ;;
esac
shift
cd "$(dirname "$0")/../.."
. scripts/lib.sh
cargo mutants --version >/dev/null 2>&1 ||
    fail "cargo-mutants is missing: cargo install --locked cargo-mutants"

# The package: the layers alone. The target folder and the last results stay.
copy=${TMPDIR:-/tmp}/ropewalk-mutants/$layer
rm -rf "$copy/src"
mkdir -p "$copy/src/common"
sed '/^\[\[/,$d' Cargo.toml >"$copy/Cargo.toml"
cp Cargo.lock "$copy/"
cp src/common/testing.rs "$copy/src/common/"
keep=''
for part in $layers; do
    cp -r "src/common/$part.rs" "$copy/src/common/"
    [ ! -d "src/common/$part" ] || cp -r "src/common/$part" "$copy/src/common/"
    keep="$keep -e ^pub.mod.$part;"
done
# shellcheck disable=SC2086 # one word each
{
    grep -v '^pub mod ' src/common/lib.rs
    grep $keep src/common/lib.rs
} >"$copy/src/common/lib.rs"
cd "$copy"

# All files of the layer, unless the arguments name some.
case " $* " in
*' -f '* | *' --file'*) ;;
*) set -- -f "src/common/$layer.rs" -f "src/common/$layer/**" "$@" ;;
esac

# Without debug information and optimisation, a change compiles fastest.
export CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=0
unset CARGO_TARGET_DIR
# A change can cause an endless loop that allocates.
ulimit -v 8388608

tests=${TESTS:-$layer::}
nice -n 5 cargo test --quiet --lib "$tests"
status=0
nice -n 5 cargo mutants --in-place --baseline skip --timeout 30 --colors never \
    "$@" -- --lib "$tests" || status=$?
# 2: some survived; 3: some ran out of time.
[ $status -eq 2 ] || [ $status -eq 3 ] || [ $status -eq 0 ] || exit $status
wc -l mutants.out/caught.txt mutants.out/missed.txt mutants.out/timeout.txt mutants.out/unviable.txt
echo "results: $copy/mutants.out"
exit $status
