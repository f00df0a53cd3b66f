//! Bytes from the kernel's random source.

use super::retry;
use std::fs::File;
use std::io::{self, Read};

/// Fills `bytes` from getrandom(2), or from /dev/urandom on kernels older than 3.17.
pub fn fill(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        let taken = retry(|| {
            // SAFETY: `rest` is writable for `rest.len()` bytes. Called by number,
            // since C libraries older than 2.25 have no function for it.
            let taken = unsafe {
                libc::syscall(libc::SYS_getrandom, rest.as_mut_ptr(), rest.len(), 0 as libc::c_uint)
            };
            usize::try_from(taken).map_err(|_| io::Error::last_os_error())
        });
        match taken {
            Ok(taken) => filled += taken,
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
                return File::open("/dev/urandom")?.read_exact(&mut bytes[filled..]);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tokens_differ() {
        let (mut a, mut b) = ([0u8; 16], [0u8; 16]);
        fill(&mut a).unwrap();
        fill(&mut b).unwrap();
        assert_ne!(a, b);
    }
}
