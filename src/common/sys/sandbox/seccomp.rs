//! seccomp(2): a filter in classic BPF that allows the system calls of `calls.rs`. Every other
//! call fails with EPERM, and the program goes on.

use super::super::check;
use super::Role;
use super::calls::{ARCHITECTURE, Rule, Test, allowed};
use std::io;

/// Instructions of classic BPF (linux/bpf_common.h) as this filter uses them.
const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// SECCOMP_FILTER_FLAG_TSYNC, Linux 3.17, and SECCOMP_FILTER_FLAG_SPEC_ALLOW, 4.17.
const FOR_ALL_THREADS: libc::c_uint = 1;
const AT_FULL_SPEED: libc::c_uint = 4;

/// The most instructions that the kernel accepts (BPF_MAXINSNS).
const MAX_INSTRUCTIONS: usize = 4096;

/// The filter's answers.
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;

/// The offset of the low half of an argument: arguments have 64 bits, in the machine's byte
/// order.
fn low_half(argument: u32) -> u32 {
    16 + 8 * argument + if cfg!(target_endian = "big") { 4 } else { 0 }
}

/// One instruction. The two jumps, if true and if false, count instructions forward.
fn instruction(code: u16, value: u32, (yes, no): (u8, u8)) -> libc::sock_filter {
    libc::sock_filter { code, jt: yes, jf: no, k: value }
}

/// The filter of `rules` for this machine.
fn program(architecture: u32, rules: &[Rule]) -> Vec<libc::sock_filter> {
    let plain = (0, 0);
    let unless = (0, 1);
    let answer = |answer| instruction(RETURN, answer, plain);
    let mut out = vec![
        // Programs of another architecture number their calls differently. x32 shares the
        // architecture and adds a bit that no rule has.
        instruction(LOAD, ARCH, plain),
        instruction(IF_EQUAL, architecture, (1, 0)),
        answer(REFUSE),
        instruction(LOAD, NUMBER, plain),
    ];
    for rule in rules {
        let body = match &rule.test {
            Test::Always => vec![answer(ALLOW)],
            Test::Fails(error) => vec![answer(libc::SECCOMP_RET_ERRNO | error)],
            Test::OneOf(argument, values) => {
                let mut body = vec![instruction(LOAD, low_half(*argument), plain)];
                for value in values {
                    body.push(instruction(IF_EQUAL, *value, unless));
                    body.push(answer(ALLOW));
                }
                body.push(answer(REFUSE));
                body
            }
            Test::Has(argument, bit) => vec![
                instruction(LOAD, low_half(*argument), plain),
                instruction(IF_ANY_BIT, *bit, unless),
                answer(ALLOW),
                answer(REFUSE),
            ],
            Test::Lacks(argument, bit) => vec![
                instruction(LOAD, low_half(*argument), plain),
                instruction(IF_ANY_BIT, *bit, unless),
                answer(REFUSE),
                answer(ALLOW),
            ],
        };
        // Every rule is short enough for a jump over it.
        let over = u8::try_from(body.len()).unwrap_or(u8::MAX);
        out.push(instruction(IF_EQUAL, rule.number, (0, over)));
        out.extend(body);
    }
    out.push(answer(REFUSE));
    out
}

/// Applies the filter to all threads of this process. Before Linux 3.17: to this thread and the
/// threads that it starts. Needs no_new_privileges first. `within` says that Landlock holds.
///
/// # Errors
/// `ENOSYS` on a kind of processor without a list here; other errors of the kernel.
pub(super) fn restrict(role: Role, within: bool) -> io::Result<()> {
    let Some(architecture) = ARCHITECTURE else {
        return Err(io::Error::from_raw_os_error(libc::ENOSYS));
    };
    let mut code = program(architecture, &allowed(role, std::process::id(), within));
    let length = match u16::try_from(code.len()) {
        Ok(length) if code.len() <= MAX_INSTRUCTIONS => length,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let filter = libc::sock_fprog { len: length, filter: code.as_mut_ptr() };
    let filter = &raw const filter;
    // For all threads, and without the speculation mitigation that slows every filtered process
    // before Linux 5.16: no foreign code runs here.
    let flags = [FOR_ALL_THREADS | AT_FULL_SPEED, FOR_ALL_THREADS];
    for flags in flags {
        // SAFETY: `filter` points at `code`, both alive, with its number of instructions.
        let done = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, filter)
        };
        match check(done as libc::c_int) {
            Ok(0) => return Ok(()),
            // The id of a thread with another filter.
            Ok(_) => return Err(io::ErrorKind::ResourceBusy.into()),
            Err(error) if is_unknown(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let (mode, end) = (libc::SECCOMP_MODE_FILTER as libc::c_ulong, 0 as libc::c_ulong);
    // SAFETY: as above.
    check(unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, filter, end, end) })?;
    Ok(())
}

/// Whether the kernel lacks the call or one of its flags.
fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::super::{Peers, Work};
    use super::*;

    const HERE: u32 = 0xc000_003e;

    /// The filter's answer for a call: a model of the kernel's interpreter, as far as the filter
    /// needs it.
    fn answer(program: &[libc::sock_filter], arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let mut data = [0u8; 64];
        data[..4].copy_from_slice(&number.to_ne_bytes());
        data[4..8].copy_from_slice(&arch.to_ne_bytes());
        for (index, argument) in arguments.iter().enumerate() {
            data[16 + 8 * index..24 + 8 * index].copy_from_slice(&argument.to_ne_bytes());
        }
        let (mut at, mut loaded) = (0, 0);
        loop {
            let one = program[at];
            at += 1;
            let jump = match one.code {
                LOAD => {
                    let from = one.k as usize;
                    loaded = u32::from_ne_bytes(data[from..from + 4].try_into().unwrap());
                    continue;
                }
                RETURN => return one.k,
                IF_EQUAL => loaded == one.k,
                IF_ANY_BIT => loaded & one.k != 0,
                code => panic!("{code}"),
            };
            at += usize::from(if jump { one.jt } else { one.jf });
        }
    }

    fn rules() -> Vec<Rule> {
        let rule = |number, test| Rule { number, test };
        vec![
            rule(1, Test::Always),
            rule(2, Test::OneOf(1, vec![10, 20])),
            rule(3, Test::Has(0, 0x100)),
            rule(4, Test::Lacks(2, 4)),
            rule(5, Test::Fails(38)),
        ]
    }

    fn say(number: u32, arguments: [u64; 6]) -> u32 {
        answer(&program(HERE, &rules()), HERE, number, arguments)
    }

    #[test]
    fn only_listed_calls_are_allowed() {
        assert_eq!(say(1, [0; 6]), ALLOW);
        for number in [0, 6, 59, u32::MAX] {
            assert_eq!(say(number, [0; 6]), REFUSE, "{number}");
        }
    }

    #[test]
    fn an_argument_can_be_one_of_several() {
        assert_eq!(say(2, [0, 10, 0, 0, 0, 0]), ALLOW);
        assert_eq!(say(2, [0, 20, 0, 0, 0, 0]), ALLOW);
        assert_eq!(say(2, [10, 30, 20, 0, 0, 0]), REFUSE);
    }

    #[test]
    fn an_argument_must_have_or_lack_a_bit() {
        assert_eq!(say(3, [0x1ff, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(say(3, [0x0ff, 0, 0, 0, 0, 0]), REFUSE);
        assert_eq!(say(4, [0, 0, 3, 0, 0, 0]), ALLOW);
        assert_eq!(say(4, [0, 0, 7, 0, 0, 0]), REFUSE);
    }

    #[test]
    fn a_call_can_fail_as_missing() {
        assert_eq!(say(5, [0; 6]), libc::SECCOMP_RET_ERRNO | 38);
    }

    #[test]
    fn another_architecture_is_refused() {
        for arch in [0x4000_0003, 0xc000_00b7, 0] {
            for number in 0..10 {
                assert_eq!(answer(&program(HERE, &rules()), arch, number, [0; 6]), REFUSE);
            }
        }
    }

    #[test]
    fn x32_numbers_are_refused() {
        for number in 0..1000 {
            assert_eq!(say(0x4000_0000 | number, [0; 6]), REFUSE);
        }
    }

    #[test]
    fn the_kernel_accepts_the_filters_of_the_lists() {
        let changes = [
            libc::SYS_connect,
            libc::SYS_ftruncate,
            libc::SYS_fallocate,
            libc::SYS_unlinkat,
            libc::SYS_fchmod,
        ];
        let come = |work| Role { work, peers: Peers::Come };
        let dialled = |work| Role { work, peers: Peers::AreDialled };
        check_list(come(Work::Sender), false, &[&changes[..], &[libc::SYS_openat]].concat());
        check_list(
            dialled(Work::Receiver),
            false,
            &[libc::SYS_bind, libc::SYS_openat, libc::SYS_unlinkat],
        );
        let openat2 = crate::sys::number::OPENAT2;
        check_list(come(Work::TreeSource), true, &changes);
        check_list(come(Work::TreeSource), false, &[&changes[..], &[openat2]].concat());
        check_list(dialled(Work::TreeSink), true, &[libc::SYS_bind, libc::SYS_mknodat]);
        check_list(dialled(Work::Sender), false, &[&changes[1..], &[libc::SYS_openat]].concat());
        let others = [libc::SYS_bind, libc::SYS_connect, libc::SYS_socket];
        check_list(come(Work::Receiver), false, &others);
        check_list(come(Work::TreeSink), true, &others);
        let more = [libc::SYS_sendto, libc::SYS_recvfrom, libc::SYS_accept4, libc::SYS_openat];
        check_list(come(Work::Pump), false, &[&changes[..], &others, &more].concat());
    }

    fn check_list(role: Role, within: bool, more: &[libc::c_long]) {
        let Some(architecture) = ARCHITECTURE else { return };
        let rules = allowed(role, 1, within);
        let code = program(architecture, &rules);
        assert!(code.len() <= MAX_INSTRUCTIONS);
        let mut numbers: Vec<u32> = rules.iter().map(|rule| rule.number).collect();
        numbers.sort_unstable();
        assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]), "a call has two rules");
        let always = [libc::SYS_execve, libc::SYS_listen, libc::SYS_ptrace, libc::SYS_kill];
        for refused in always.iter().chain(more) {
            assert_eq!(answer(&code, architecture, *refused as u32, [0; 6]), REFUSE);
        }
        assert_eq!(answer(&code, architecture, libc::SYS_read as u32, [0; 6]), ALLOW);
    }
}
