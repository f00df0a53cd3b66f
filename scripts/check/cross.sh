#!/bin/bash
# Runs the end-to-end tests with the programs of another machine on one side: a client of that
# machine with a native server, then the other way round. qemu's user emulation runs these programs.
# The kernel knows qemu only in a namespace with its own binfmt_misc (Linux 6.7 or newer), which
# ends with this script.
#
#   scripts/check/cross.sh [TRIPLE...]      what scripts/package/cross-build.sh has built
#
# Names and skips what is missing. x86 needs no emulation on x86-64.
set -u
cd "$(dirname "$0")/../.." || exit 1
. scripts/lib.sh
cargo=${CARGO:-cargo}
target=${TARGET_DIR:-target}
known="aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf i686-unknown-linux-gnu
    s390x-unknown-linux-gnu"
status=0

# All tests that move files, but not those that look at the sandbox from outside: qemu has neither
# seccomp(2) nor Landlock.
tests=${TESTS:-"transfer::files:: transfer::verify:: transfer::holes:: transfer::auto::
    transfer::one_port:: transfer::outputs:: transfer::piped resume:: faults::network::
    faults::changes:: faults::disks::a_disk_that_fills_up faults::disks::a_classic_fetch_joins
    faults::disks::a_limit_of faults::disks::a_disk_without_enough http::requests:: security::root::
    security::passwords:: packages::old_kernel:: trees::entries:: trees::options:: trees::deletes::
    trees::changes:: trees::disks:: push::files:: push::folders::"}

# emulator TRIPLE: qemu's name for the machine, or nothing if the machine needs no emulation.
emulator() {
    case $1 in
        i?86-* | x86_64-*) [ "$(uname -m)" = x86_64 ] || echo "${1%%-*}" ;;
        arm*) echo arm ;;
        *) echo "${1%%-*}" ;;
    esac
}

# libraries TRIPLE: the folder of the machine's C library, where cross compilers have it.
libraries() {
    case $1 in
        arm*-gnueabihf) echo /usr/arm-linux-gnueabihf ;;
        *) echo "/usr/${1%%-*}-linux-gnu" ;;
    esac
}

# emulated QEMU PROGRAM COMMAND...: runs the command where programs for the machine of PROGRAM start
# like native ones. The kernel knows them by their first bytes (elf(5)): class, byte order and
# machine count, and the file may be any kind of program.
emulated() {
    local qemu=$1 magic
    magic=$(od -An -v -tx1 -N20 "$2" | tr -d '\n' | sed 's/ /\\x/g')
    shift 2
    # shellcheck disable=SC2016
    QEMU=$(command -v "$qemu") MAGIC=$magic unshare -Urm sh -c '
        mount -t binfmt_misc none /proc/sys/fs/binfmt_misc || exit 99
        mask="\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff"
        printf "%s" ":ropewalk:M::$MAGIC:$mask:$QEMU:" >/proc/sys/fs/binfmt_misc/register ||
            exit 99
        exec "$@"' sh "$@"
}

# on TRIPLE COMMAND...: runs the command where programs for that machine can start.
on() {
    local triple=$1 qemu
    qemu=$(emulator "$triple")
    shift
    set -- env "QEMU_LD_PREFIX=$(libraries "$triple")" "$@"
    [ -z "$qemu" ] || set -- emulated "qemu-$qemu-static" "$target/$triple/release/server" "$@"
    "$@"
}

# run TRIPLE SIDE: runs the tests with programs for TRIPLE on one SIDE (SERVER or CLIENT).
run() {
    local triple=$1 side=$2 folder large= skip=
    folder=$(realpath "$target/$triple/release")
    case $triple in arm* | i?86-*) large=transfer::large:: ;; esac
    # One test demands that the sender reports its confinement. One bounds the memory of a receiver,
    # to which qemu adds its own. One needs mtimes to the nanosecond where the kernel lacks statx(2):
    # qemu then answers statx itself, in whole seconds.
    [ -z "$(emulator "$triple")" ] || skip="--skip old_kernel::the_programs_miss
        --skip piped::blocks_that_come_too_early --skip old_kernel::a_folder_arrives"
    # This test loads a library, which works in native programs only.
    skip="$skip --skip part_file::a_resumed_run_asks"
    echo "$script: $triple: its $(echo "$side" | tr 'A-Z' 'a-z')"
    # shellcheck disable=SC2086
    on "$triple" env "ROPEWALK_TEST_$side=$folder" \
        $cargo test --locked --quiet --target-dir "$target" --test e2e -- \
        --include-ignored $skip $tests $large ||
        { echo "$script: $triple: FAILED as $side"; status=1; }
}

$cargo test --locked --quiet --target-dir "$target" --test e2e --no-run || exit 1
for triple in ${*:-$known}; do
    qemu=$(emulator "$triple")
    if [ ! -x "$target/$triple/release/receiver" ]; then
        skipped "$triple was not built"
    elif [ -n "$qemu" ] && ! have "qemu-$qemu-static"; then
        skipped "$triple needs qemu-$qemu-static"
    elif ! on "$triple" "$target/$triple/release/server" --version >/dev/null; then
        skipped "$triple: its programs do not start here: they need its C library," \
            "and for qemu a binfmt_misc of the script's own (Linux 6.7)"
    else
        run "$triple" SERVER
        run "$triple" CLIENT
    fi
done
exit "$status"
