//! The MD5 of the file that is pushed. A thread makes it while the sender reads the same bytes; of
//! what can be read only once, the sender makes it.

#![forbid(unsafe_code)]

use ropewalk::error::{Error, Result};
use ropewalk::hash::Md5;
use ropewalk::sys::sync::{lock, wait_for};
use ropewalk::sys::thread;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Bytes that are hashed at once.
const PIECE: usize = 1 << 20;

/// How far the hash may be ahead of the sender: so the disk reads each byte once.
const AHEAD: u64 = 64 << 20;

/// An MD5 that is being made.
pub(super) struct Hash(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// How far the sender has come.
    reached: u64,
    /// Whether nobody wants the MD5 any more.
    over: bool,
    result: Option<io::Result<[u8; 16]>>,
}

impl Hash {
    /// Begins to hash `size` bytes of `file`.
    pub(super) fn begin(file: &File, size: u64) -> Result<Hash> {
        let failed = |error: io::Error| Error::system("MD5", &error);
        let file = file.try_clone().map_err(failed)?;
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let own = shared.clone();
        thread::spawn("md5", move || {
            let result = own.hash(&file, size);
            lock(&own.state).result = result.transpose();
            own.changed.notify_all();
        })
        .map_err(failed)?;
        Ok(Hash(shared))
    }

    /// An MD5 that the sender makes.
    pub(super) fn of_sender() -> Hash {
        Hash(Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() }))
    }

    /// The sender has made it.
    pub(super) fn is(&self, md5: [u8; 16]) {
        lock(&self.0.state).result.get_or_insert(Ok(md5));
        self.0.changed.notify_all();
    }

    /// The sender has come so far.
    pub(super) fn reached(&self, offset: u64) {
        let mut state = lock(&self.0.state);
        state.reached = state.reached.max(offset);
        self.0.changed.notify_all();
    }

    /// Waits for the MD5, for `limit` at most.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn wait(&self, limit: Duration) -> Result<Option<[u8; 16]>> {
        let until = Instant::now() + limit;
        let mut state = lock(&self.0.state);
        loop {
            match &state.result {
                Some(Ok(md5)) => return Ok(Some(*md5)),
                Some(Err(error)) => return Err(Error::system("MD5", error)),
                None => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            state = wait_for(&self.0.changed, state, left);
        }
    }

    /// The MD5, if it is made.
    pub(super) fn known(&self) -> Option<[u8; 16]> {
        lock(&self.0.state).result.as_ref().and_then(|result| result.as_ref().ok().copied())
    }
}

impl Drop for Hash {
    fn drop(&mut self) {
        lock(&self.0.state).over = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    /// The MD5; `None` when nobody wants it any more.
    fn hash(&self, file: &File, size: u64) -> io::Result<Option<[u8; 16]>> {
        let (mut md5, mut buffer, mut at) = (Md5::new(), vec![0; PIECE], 0);
        while at < size {
            {
                let mut state = lock(&self.state);
                while !state.over && at > state.reached.saturating_add(AHEAD) {
                    state = ropewalk::sys::sync::wait(&self.changed, state);
                }
                if state.over {
                    return Ok(None);
                }
            }
            let most = (size - at).min(PIECE as u64) as usize;
            match file.read_at(&mut buffer[..most], at)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => {
                    md5.update(&buffer[..count]);
                    at += count as u64;
                }
            }
        }
        Ok(Some(md5.finish()))
    }
}
