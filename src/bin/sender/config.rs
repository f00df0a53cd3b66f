//! The sender's job as validated values: from its parent, or from positional
//! arguments (those of the classic sender).

#![forbid(unsafe_code)]

use ropewalk::app::job::Job;
use ropewalk::app::options::{Arguments, number};
use ropewalk::app::streams::Link;
use ropewalk::app::terminal;
use ropewalk::codec::message::sender_job::{SenderJob, SenderProtocol};
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::listener::Listener;
use ropewalk::sys::{file, socket};
use ropewalk::transfer::classic::blocks::{BlockPlan, MAX_STREAMS};
use ropewalk::transfer::classic::source::ClassicSource;
use ropewalk::transfer::link::acceptor::Acceptor;
use ropewalk::transfer::queue::rate::{Rate, Throttle};
use ropewalk::transfer::source::feed::Feed;
use ropewalk::transfer::source::identity::Version;
use ropewalk::transfer::source::tree::Tree;
use ropewalk::transfer::source::{Content, Source};
use ropewalk::transfer::timing::Timing;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// What to send, and over which streams.
pub(crate) enum Task {
    /// For a classic client.
    Classic { source: Box<ClassicSource>, acceptor: Box<Acceptor> },
    /// For the other end of a session.
    Ropewalk { source: Box<Source>, link: Link, streams: u8 },
}

/// What a descriptor of a job is of the ropewalk protocol.
enum What {
    File { stored: u64, version: Version },
    Feed { md5: bool },
    Tree { one_file_system: bool },
}

/// The job that a parent handed over, with its descriptors ([`SenderJob`]). With them the limit on
/// how fast to send, which the parent may change.
pub(crate) fn from_job(job: &mut Job) -> Result<(Task, Option<Arc<Rate>>)> {
    let SenderJob { rate, trace, protocol } = SenderJob::from_json(job.object())?;
    let rate = rate.map(|rate| Arc::new(Rate::new(rate)));
    let throttle = |streams| Throttle { rate: rate.clone(), streams };
    let (streams, grows, content) = match protocol {
        SenderProtocol::Classic { size, block_size, streams, peer, idle, stall } => {
            let timing = Timing { idle, source_stall: stall, ..Timing::default() };
            let listener = Listener::from(job.descriptor()?);
            let file = File::from(job.descriptor()?);
            let plan = BlockPlan::with_block_size(size, block_size);
            let source = ClassicSource::new(file, plan, streams, throttle(streams), timing);
            let acceptor = Acceptor::new(Some(listener), Some(peer), timing).map_err(failed)?;
            return Ok((
                Task::Classic { source: Box::new(source), acceptor: Box::new(acceptor) },
                rate,
            ));
        }
        SenderProtocol::Tree { streams, one_file_system, grows } => {
            (streams, grows, What::Tree { one_file_system })
        }
        SenderProtocol::Piped { streams, md5, grows } => (streams, grows, What::Feed { md5 }),
        SenderProtocol::Ropewalk { streams, stored, version, grows } => {
            (streams, grows, What::File { stored, version })
        }
    };
    let (link, timing) = Link::from_job(streams, job)?;
    let opened = File::from(job.descriptor()?);
    let content = match content {
        What::File { stored, version } => Content::File { file: opened, version, stored },
        What::Feed { md5 } => Content::Feed(Feed::new(opened, md5).map_err(failed)?),
        What::Tree { one_file_system } => {
            let tree = Tree::new(opened.into()).map_err(failed)?;
            Content::Tree(if one_file_system { tree.one_file_system() } else { tree })
        }
    };
    let source = Source::new(content, throttle(streams.count()), timing).map_err(failed)?;
    let source = match &link {
        Link::Dialled { dialler, .. } if grows => source.that_grows(dialler.first_streams()),
        Link::Dialled { .. } | Link::Accepted { .. } => source,
    };
    let source = if trace { source.with_trace() } else { source };
    Ok((Task::Ropewalk { source: Box::new(source), link, streams: streams.count() }, rate))
}

fn failed(error: io::Error) -> Error {
    Error::system("start", &error)
}

/// `PORT PATH BLOCK_SIZE THREADS`.
pub(crate) fn from_arguments(arguments: &Arguments) -> Result<Task> {
    let port = number("port", arguments.positional(0), 0..=65535)? as u16;
    let block_size = number("block_size", arguments.positional(2), 1..=i64::MAX as u64)?;
    let streams = number("streams", arguments.positional(3), 1..=MAX_STREAMS)? as u8;
    let path = Path::new(arguments.positional(1));
    let shown = escape(path.as_os_str().as_bytes());
    let failed = |error| Error::system(&shown, &error);
    let file = file::open_without_blocking(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(Error::new(ExitCode::System, format!("{shown}: not a regular file")));
    }
    let plan = BlockPlan::with_block_size(found.len(), block_size);
    let listener = socket::listen_everywhere(port)
        .map_err(|error| Error::system(format!("port {port}"), &error))?;
    if port == 0 {
        // A caller that asks for any port has to be told which port it is.
        let failed = |error| Error::system("standard output", &error);
        let address = listener.local_addr().map_err(failed)?;
        terminal::print(format!("listening on {address}\n").as_bytes()).map_err(failed)?;
    }
    let timing = Timing::default();
    let source = ClassicSource::new(file, plan, streams, Throttle::default(), timing);
    let acceptor =
        Acceptor::new(Some(listener.into()), None, timing).map_err(crate::config::failed)?;
    Ok(Task::Classic { source: Box::new(source), acceptor: Box::new(acceptor) })
}
