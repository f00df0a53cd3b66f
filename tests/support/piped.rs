//! A client whose standard output the test reads at its own speed.

use crate::support::harness::{LIMIT, assert_same};
use ropewalk::sys::poll;
use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

/// A client whose standard output the test reads at its own speed.
pub(crate) struct Piped {
    pub(crate) child: Child,
}

impl Piped {
    pub(crate) fn start(command: &mut Command) -> Piped {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Piped { child: command.spawn().unwrap() }
    }

    /// The next `count` bytes.
    #[track_caller]
    pub(crate) fn read(&mut self, count: usize) -> Vec<u8> {
        let (mut bytes, mut filled) = (vec![0; count], 0);
        let out = self.child.stdout.as_mut().unwrap();
        while filled < count {
            assert_eq!(poll::readable(&[out.as_fd()], Some(LIMIT)).unwrap(), [true], "{filled}");
            match out.read(&mut bytes[filled..]).unwrap() {
                0 => panic!("it ended after {filled} bytes"),
                count => filled += count,
            }
        }
        bytes
    }

    /// Reads the rest. Returns it with the exit code and the standard error.
    pub(crate) fn finish(mut self) -> (Vec<u8>, Option<i32>, String) {
        let (mut bytes, mut said) = (Vec::new(), String::new());
        if let Some(mut out) = self.child.stdout.take() {
            out.read_to_end(&mut bytes).unwrap();
        }
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (bytes, self.child.wait().unwrap().code(), said)
    }

    /// Demands success and these bytes. Returns what the client printed.
    #[track_caller]
    pub(crate) fn brings(self, expected: &[u8]) -> String {
        let (bytes, code, said) = self.finish();
        assert_eq!(code, Some(0), "{said}");
        assert_same(&bytes, expected, "standard output");
        said
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
