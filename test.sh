#!/bin/sh
# All tests: the unit tests, those that go through the real programs, and the scripts.
# `make test` builds the release programs first.
#
# The tests of `e2e` mostly wait, for programs and clocks. So all other tests run beside them. What
# these print comes after the output of `e2e`.
set -eu
cd "$(dirname "$0")"
. scripts/lib.sh
tests="${CARGO:-cargo} test --locked --quiet --target-dir target"
$tests --no-run
# The files of the tests are in memory where there is room: tests of many files take a third of the
# time there. TMPDIR names another place.
[ -n "${TMPDIR:-}" ] || ! in_memory 4096 || TMPDIR=/dev/shm
make_folder
chmod 755 "$folder" # some tests start programs as another user
export TMPDIR="$folder"

# beside NAME COMMAND...: runs the command beside this script, which kills it when it is interrupted
# itself. `timeout` makes a process group of the command, so that nothing of it stays.
beside() {
    name=$1
    shift
    timeout 3600 "$@" >"$folder/$name" 2>&1 </dev/null &
    running="$running $!"
}

# More threads than processors: these tests wait for programs and disks, too.
beside models env RUST_TEST_THREADS="${RUST_TEST_THREADS:-6}" $tests --test powercut --test simulation
# Cargo takes a pattern for the names of tests: these are for all but `e2e` and the models.
beside others sh -eu -c "$tests --lib --bins --test '[!eps]*' --test 'pa*' --test 'e[!2]*'; $tests --doc"
run='for script do echo "$script"; sh "$script"; done'
# The scripts of packages compile, and take longest.
beside packages sh -eu -c "$run" sh scripts/test/d*.sh
beside scripts sh -eu -c "$run" sh scripts/test/[!d]*.sh
status=0
RUST_TEST_THREADS=${RUST_TEST_THREADS:-18} $tests --test e2e || status=$?
for pid in $running; do wait "$pid" || status=$?; done
running=
cat "$folder/models" "$folder/others" "$folder/packages" "$folder/scripts"
exit "$status"
