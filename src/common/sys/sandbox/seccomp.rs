//! seccomp(2): a filter in classic BPF that lets through the system calls of `calls.rs`
//! and refuses every other one with EPERM, so that a program carries on without.

use super::super::check;
use super::Role;
use super::calls::{ARCHITECTURE, Rule, Test, allowed};
use std::io;

/// Instructions of classic BPF (linux/bpf_common.h) as this filter uses them.
const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Where the filter finds things in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// SECCOMP_FILTER_FLAG_TSYNC, Linux 3.17, and SECCOMP_FILTER_FLAG_SPEC_ALLOW, 4.17.
const FOR_ALL_THREADS: libc::c_uint = 1;
const AT_FULL_SPEED: libc::c_uint = 4;

/// The most instructions that the kernel takes (BPF_MAXINSNS).
const MAX_INSTRUCTIONS: usize = 4096;

/// The filter's answers.
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;

/// Where the low half of an argument is: all are 64 bits wide, in the machine's order.
fn low_half(argument: u32) -> u32 {
    16 + 8 * argument + if cfg!(target_endian = "big") { 4 } else { 0 }
}

/// One instruction: the jumps are in instructions forward, if so and if not.
fn instruction(code: u16, value: u32, (yes, no): (u8, u8)) -> libc::sock_filter {
    libc::sock_filter { code, jt: yes, jf: no, k: value }
}

/// The filter for this machine, that allows what `rules` say.
fn program(architecture: u32, rules: &[Rule]) -> Vec<libc::sock_filter> {
    let plain = (0, 0);
    let unless = (0, 1);
    let answer = |answer| instruction(RETURN, answer, plain);
    let mut out = vec![
        // Another kind of program than this one numbers its calls differently; x32,
        // which shares an architecture, adds a bit that no rule here has.
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
        // No rule has so many values that a jump over it would not fit.
        let over = u8::try_from(body.len()).unwrap_or(u8::MAX);
        out.push(instruction(IF_EQUAL, rule.number, (0, over)));
        out.extend(body);
    }
    out.push(answer(REFUSE));
    out
}

/// Puts the filter in force for all threads of this process, or, on a kernel older than
/// 3.17, for this one and those that it starts. Needs no_new_privileges first.
///
/// # Errors
/// `ENOSYS` on a kind of processor without a list here; what the kernel says.
pub(super) fn restrict(role: Role) -> io::Result<()> {
    let Some(architecture) = ARCHITECTURE else {
        return Err(io::Error::from_raw_os_error(libc::ENOSYS));
    };
    let mut code = program(architecture, &allowed(role, std::process::id()));
    let length = match u16::try_from(code.len()) {
        Ok(length) if code.len() <= MAX_INSTRUCTIONS => length,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let filter = libc::sock_fprog { len: length, filter: code.as_mut_ptr() };
    let filter = &raw const filter;
    // For all threads, and without the brake on the processor that kernels before 5.16
    // put in with every filter: no code of strangers runs here.
    let flags = [FOR_ALL_THREADS | AT_FULL_SPEED, FOR_ALL_THREADS];
    for flags in flags {
        // SAFETY: `filter` points at `code`, both alive, with its number of instructions.
        let done = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, filter)
        };
        match check(done as libc::c_int) {
            Ok(0) => return Ok(()),
            // The number of a thread that has a filter of its own.
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

/// Whether the kernel does not know the call, or one of its flags.
fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: u32 = 0xc000_003e;

    /// What a filter says of a call: the kernel's interpreter, as far as it is used.
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
    fn what_is_on_the_list_is_allowed_and_nothing_else() {
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
    fn a_call_can_seem_not_to_exist() {
        assert_eq!(say(5, [0; 6]), libc::SECCOMP_RET_ERRNO | 38);
    }

    #[test]
    fn programs_of_another_kind_get_nothing() {
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
    fn the_lists_make_filters_that_the_kernel_takes() {
        check_list(Role::Sender, &[libc::SYS_connect, libc::SYS_ftruncate, libc::SYS_fallocate]);
        check_list(Role::Receiver, &[libc::SYS_bind, libc::SYS_listen]);
    }

    fn check_list(role: Role, more: &[libc::c_long]) {
        let Some(architecture) = ARCHITECTURE else { return };
        let rules = allowed(role, 1);
        let code = program(architecture, &rules);
        assert!(code.len() <= MAX_INSTRUCTIONS);
        let mut numbers: Vec<u32> = rules.iter().map(|rule| rule.number).collect();
        numbers.sort_unstable();
        assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]), "a call has two rules");
        let always = [libc::SYS_execve, libc::SYS_openat, libc::SYS_ptrace, libc::SYS_kill];
        for refused in always.iter().chain(more) {
            assert_eq!(answer(&code, architecture, *refused as u32, [0; 6]), REFUSE);
        }
        assert_eq!(answer(&code, architecture, libc::SYS_read as u32, [0; 6]), ALLOW);
    }
}
