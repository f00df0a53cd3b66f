//! The MD5 of files that are longer than a block. The sink makes that of its file, range by range,
//! and asks the source for its own at the end of each range: so no answer takes long, and the
//! source keeps no state. A file whose MD5 differs is fetched anew.

#![forbid(unsafe_code)]

use super::large::{self, Large};
use super::{Here, Meta, TreeSink};
use crate::codec::wire::{MAX_HASHED, Request};
use crate::hash::Md5;
use crate::sys::sync::lock;
use crate::transfer::link::End;
use crate::transfer::queue;
use crate::transfer::queue::board::entries::{Fate, File};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

/// Bytes hashed at once: small, so that they stay in the processor's cache.
const BUFFER: u64 = 64 << 10;

/// A range of a large file of which the source is to say the MD5.
pub(super) struct Question {
    pub(super) large: Arc<Large>,
    range: Range<u64>,
    /// The state before the range, which the source has said before.
    state: [u8; 16],
    answer: Sender<[u8; 16]>,
}

impl Question {
    /// Appends its request to `message`.
    pub(super) fn encode(&self, message: &mut Vec<u8>) {
        encode(&self.large.file, self.range.clone(), self.state, message);
    }

    /// How many bytes it is about.
    pub(super) fn length(&self) -> u32 {
        (self.range.end - self.range.start) as u32
    }

    /// The source has said this.
    pub(super) fn answer(self, md5: [u8; 16]) {
        // The thread may have given up.
        let _ = self.answer.send(md5);
    }
}

/// Appends the request for the MD5 of a small file.
pub(super) fn encode_small(file: &File<Meta>, message: &mut Vec<u8>) {
    encode(file, 0..file.size, Md5::new().state(), message);
}

fn encode(file: &File<Meta>, range: Range<u64>, state: [u8; 16], message: &mut Vec<u8>) {
    let (name, identity) = (&*file.path(), file.meta.identity);
    let (offset, length) = (range.start, (range.end - range.start) as u32);
    Request::Md5 { name, identity, offset, length, state }.encode_into(message);
}

/// The questions that no stream has asked yet; `None` at the end.
pub(super) struct Questions {
    waiting: Mutex<Option<VecDeque<Question>>>,
}

impl Questions {
    /// None yet.
    pub(super) fn new() -> Questions {
        Questions { waiting: Mutex::new(Some(VecDeque::new())) }
    }

    /// The next one, for a stream to ask.
    pub(super) fn take(&self) -> Option<Question> {
        lock(&self.waiting).as_mut()?.pop_front()
    }

    /// Any stream may ask this. At the end nobody does, and who waits for the answer hears of it.
    pub(super) fn put(&self, question: Question) {
        if let Some(waiting) = lock(&self.waiting).as_mut() {
            waiting.push_back(question);
        }
    }

    /// Nothing is asked any more.
    pub(super) fn end(&self) {
        lock(&self.waiting).take();
    }
}

/// Compares the MD5 of a large file with the source's while the file comes, and then completes the
/// file. Where they differ, the file is fetched anew.
pub(super) fn compare(sink: &TreeSink, large: &Arc<Large>) {
    match is_equal(sink, large) {
        Ok(None) => {}
        Ok(Some(true)) => {
            sink.count_hashed();
            large.is_compared.store(true, Ordering::Release);
            if let Err(error) = large::complete_if_whole(sink, large) {
                sink.fail(error);
            }
        }
        Ok(Some(false)) => {
            if large::discard(sink, large) {
                sink.differs(&large.file);
            }
        }
        Err(error) => {
            if large::discard(sink, large) {
                sink.board.leave(large.file.id, Fate::Refused);
                let told = sink.refuse_here(&large.file.path(), &error);
                told.unwrap_or_else(|error| sink.fail(error));
            }
        }
    }
}

/// Whether the MD5 is the source's; `None` if the file was given up meanwhile.
fn is_equal(sink: &TreeSink, large: &Arc<Large>) -> io::Result<Option<bool>> {
    let (size, mut md5, mut at) = (large.file.size, Md5::new(), 0);
    let mut buffer = vec![0; BUFFER as usize];
    while at < size {
        let range = at..size.min(at + u64::from(MAX_HASHED));
        let mut prefix = at;
        while prefix < range.end {
            prefix = large.queue.wait_for_prefix(prefix);
            if large.queue.end() == Some(queue::End::Aborted) {
                return Ok(None);
            }
        }
        let answer = ask(sink, large, range.clone(), md5.state());
        hash(large, range.clone(), &mut md5, &mut buffer)?;
        let Ok(theirs) = answer.recv() else { return Ok(None) };
        let ours = if range.end == size { md5.clone().finish() } else { md5.state() };
        if ours != theirs {
            return Ok(Some(false));
        }
        at = range.end;
    }
    Ok(Some(true))
}

/// Has a stream ask for the MD5 behind a range.
fn ask(
    sink: &TreeSink,
    large: &Arc<Large>,
    range: Range<u64>,
    state: [u8; 16],
) -> Receiver<[u8; 16]> {
    let (answer, answered) = mpsc::channel();
    sink.questions.put(Question { large: large.clone(), range, state, answer });
    sink.board.wake();
    answered
}

/// Adds the bytes of a range, as they are in the file. Those of holes are not read.
fn hash(large: &Large, range: Range<u64>, md5: &mut Md5, buffer: &mut [u8]) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        at = match large.queue.hole_at(at) {
            Ok(end) => {
                let end = end.min(range.end);
                md5.update_zeros(end - at);
                end
            }
            Err(end) => {
                let end = end.min(range.end).min(at + BUFFER);
                let bytes = &mut buffer[..(end - at) as usize];
                large.store.follow(at, bytes)?;
                md5.update(bytes);
                end
            }
        };
    }
    Ok(())
}

impl TreeSink {
    /// One more file has the MD5 of the source's.
    pub(super) fn count_hashed(&self) {
        *lock(&self.hashed) += 1;
    }

    /// The bytes of a file have another MD5 than the source says: they do not stay, and the file is
    /// asked for anew, but not for ever.
    pub(super) fn differs(&self, file: &File<Meta>) {
        let Here::File { target, .. } = &file.meta.here else { return };
        let meta = file.meta.again(Here::file(*target));
        if self.board.change(file.id, file.size, meta) {
            self.tell_refused(
                &file.path(),
                "its MD5 is not the source's, however often it is fetched",
            );
        }
    }
}
