//! The life of one stream: connects, and connects again when it breaks. Its work goes
//! back to the queue at once then.
//!
//! ```text
//!   connect ──► ask ──► read a block ──► write it ──► ask ...     (stream.rs)
//!      ▲                     │
//!      └── back off ◄────────┘ broken, stalled, damaged header
//! ```

#![forbid(unsafe_code)]

use super::Shared;
use super::stream::{Connection, Stop};
use ropewalk::codec::wire::Hello;
use ropewalk::transfer::trace::Mark;
use std::io;
use std::time::Duration;

/// The first pause before a stream connects again, and the longest.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(5);

/// The pause after a damaged or wrong block: the path is there, so it need not grow.
const DAMAGE_BACKOFF: Duration = Duration::from_millis(20);

/// Keeps stream `number` connected until it is not needed any more, or all is over.
pub(super) fn run(shared: &Shared, number: usize) {
    let mut backoff = FIRST_BACKOFF;
    let mut opened_before = false;
    while let Some((generation, session)) = shared.sessions.current() {
        // A server that comes back may have a place for fewer than before.
        if !shared.needs(number) || number >= usize::from(session.streams) {
            return;
        }
        let mut brought_something = false;
        let stop = match shared.sessions.connect(generation, &session) {
            Err(error) => Stop::Broken(error),
            Ok(stream) => {
                shared.record(|to| to.opened(number));
                if std::mem::replace(&mut opened_before, true) {
                    shared.count_reconnect();
                    shared.record(|to| to.mark(number, Mark::Reopened));
                }
                let hello = Hello { token: session.token, ..shared.hello(number) };
                let stop = Connection::new(shared, number, generation, &stream)
                    .run(&hello, &mut brought_something);
                shared.queue.release(number);
                shared.record(|to| to.closed(number));
                stop
            }
        };
        let delay = match stop {
            Stop::Over => return,
            Stop::Unneeded => return shared.sessions.closed(number),
            Stop::Fatal(error) => return shared.fail(error),
            Stop::Broken(error) => {
                let stalled = error.raw_os_error() == Some(libc::ETIMEDOUT);
                let mark = if stalled { Mark::Stalled } else { Mark::Broken };
                shared.record(|to| to.mark(number, mark));
                shared.sessions.failed(number, generation, &error);
                if brought_something {
                    backoff = FIRST_BACKOFF;
                }
                let delay = backoff;
                backoff = (backoff * 2).min(LAST_BACKOFF);
                delay
            }
            Stop::Wrong(what) => {
                shared.record(|to| to.mark(number, Mark::Broken));
                shared.sessions.failed(number, generation, &io::Error::other(what.clone()));
                shared.bad_block(false, &what);
                DAMAGE_BACKOFF
            }
        };
        if !shared.sessions.pause(delay) {
            return;
        }
    }
}
