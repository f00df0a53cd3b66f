//! A tree sink's conversation on one stream: asks for what the board hands out, checks what comes,
//! and stores it. Answers come in the order of the requests.

#![forbid(unsafe_code)]

mod answers;
mod requests;

use super::super::channel::Channel;
use super::super::delta::Copied;
use super::super::health::FLOOR_BLOCKS;
use super::super::work::Work;
use super::files::Writing;
use super::large::Large;
use super::md5::Question;
use super::{Meta, TreeSink};
use crate::codec::text::escape;
use crate::codec::wire::{HEADER_SIZE, MAX_ROOM};
use crate::error::Error;
use crate::hash::Md5;
use crate::sys::stream::Stream;
use crate::transfer::link::{Joined, Stop};
use crate::transfer::queue::board::entries::{File, Folder};
use crate::transfer::queue::window::Window;
use crate::transfer::store::tree::NewFile;
use crate::transfer::trace::Mark;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::ops::Range;
use std::result::Result;
use std::sync::Arc;
use std::time::Instant;

/// What was asked for and has not come.
struct Asked {
    what: What,
    since: Instant,
    /// Bytes of the request.
    request: usize,
    /// Bytes of content, and of what goes with it, that have not come.
    under_way: u64,
}

enum What {
    /// Entries of a folder.
    List { folder: Arc<Folder<Meta>>, after: Option<Arc<[u8]>> },
    /// A whole file, of which so many bytes have come.
    Small { file: Arc<File<Meta>>, at: u64, writing: Writing },
    /// A range of a large file, and what was copied there.
    Part { large: Arc<Large>, range: Range<u64>, copied: Option<Copied> },
    /// The MD5 of so many bytes.
    Md5 { length: u32, of: Hashed },
}

/// Whose MD5 is asked for.
enum Hashed {
    /// That of a small file. The request follows that for the file.
    Small(Arc<File<Meta>>),
    /// That of a large file, or of the start of it.
    Large(Question),
}

/// One conversation.
pub(super) struct Conversation<'a> {
    sink: &'a TreeSink,
    joined: &'a Joined<'a>,
    number: usize,
    stream: &'a Stream,
    window: Window,
    asked: VecDeque<Asked>,
    /// Bytes of content, of requests, and requests with a hash in `asked`.
    under_way: u64,
    request_bytes: usize,
    hashed: usize,
    /// Of the small file that is written.
    md5: Md5,
    /// A small file that is written and whose MD5 the source is to say.
    uncompared: Option<(NewFile, [u8; 16])>,
    channel: Channel<'a>,
}

impl<'a> Conversation<'a> {
    /// On a stream that has just joined.
    pub(super) fn new(sink: &'a TreeSink, joined: &'a Joined<'a>) -> Conversation<'a> {
        let block = joined.terms.max_block.min(sink.block(0));
        let room = HEADER_SIZE + block.max(MAX_ROOM) as usize;
        Conversation {
            sink,
            joined,
            number: joined.number,
            stream: joined.stream,
            window: Window::new(u64::from(FLOOR_BLOCKS) * u64::from(block), Instant::now()),
            asked: VecDeque::new(),
            under_way: 0,
            request_bytes: 0,
            hashed: 0,
            md5: Md5::new(),
            uncompared: None,
            channel: Channel::new(&sink.health, sink.wanted.rate.as_deref(), joined, room),
        }
    }

    /// Shows the hello, where there is one to show, and receives until something ends that.
    pub(super) fn run(mut self) -> Stop {
        let stop = match self.receive_all() {
            Ok(never) => match never {},
            Err(stop) => stop,
        };
        for asked in self.asked.drain(..) {
            if let What::Md5 { of: Hashed::Large(question), .. } = asked.what {
                self.sink.questions.put(question);
                self.sink.board.wake();
            }
        }
        stop
    }

    fn receive_all(&mut self) -> Result<Infallible, Stop> {
        self.channel.begin()?;
        let _open = self.sink.health.meter.open();
        let mut first = self.joined.hello.map(|hello| hello.encode().to_vec()).unwrap_or_default();
        loop {
            self.ask(&mut first)?;
            self.receive_block()?;
            self.joined.is_good.set(true);
        }
    }

    /// The output of a large file cannot be written.
    fn full(&self, large: &Large, error: &io::Error) -> Stop {
        let path = escape(&large.file.path());
        Stop::Fatal(Error::system(format!("{}/{path}", self.sink.wanted.shown), error))
    }

    /// Takes so many bytes of content off what is under way; with `is_last`, all of the first
    /// request. `payload` is what came over the path.
    fn arrived(&mut self, content: u64, payload: u64, is_last: bool) -> Option<Asked> {
        let now = Instant::now();
        self.channel.has_answer();
        let front = self.asked.front_mut()?;
        let taken = if is_last { front.under_way } else { content.min(front.under_way) };
        front.under_way -= taken;
        self.under_way -= taken;
        let answer = now.saturating_duration_since(front.since);
        let stream = self.stream;
        self.window.arrived(payload, answer, now, || stream.round_trip());
        if !is_last {
            return None;
        }
        let asked = self.asked.pop_front()?;
        self.request_bytes -= asked.request;
        Some(asked)
    }

    fn is_good(&mut self) {
        self.channel.is_good(self.window.answer_time());
    }

    /// Counts what does not have its checksum.
    fn is_damaged(&self) {
        self.sink.record(|to| to.mark(self.number, Mark::Damaged));
        self.sink.bad_block(true, "its checksum differs");
    }
}
