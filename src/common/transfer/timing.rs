//! Every wait of the engine. The programs use the default; a test divides it, so that a
//! stall of 30 s is one of 30 ms.

#![forbid(unsafe_code)]

use std::time::Duration;

/// How long the engine waits, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two progress reports, at least.
    pub report: Duration,

    // A stream of a dialler.
    /// An attempt to connect.
    pub connect: Duration,
    /// The first attempt to connect to a data port. Then the control port is tried.
    pub try_data_port: Duration,
    /// How long a data port that takes connections may say nothing before the control port
    /// is tried: some firewalls and tunnels take connections for a peer that they do not reach.
    pub trust: Duration,
    /// The first pause before a broken stream connects again.
    pub first_backoff: Duration,
    /// The longest of these pauses.
    pub last_backoff: Duration,
    /// The pause after a damaged or wrong block. The path is there, so the pause does not grow.
    pub damage_backoff: Duration,
    /// How long no stream brings anything, with none open, until the session counts as lost.
    pub loss: Duration,
    /// The same with streams open: the peer's kernel may accept them while no process answers.
    pub deaf: Duration,
    /// How long a dialler may take to tell the peer at the end that it is not needed.
    pub leave: Duration,
    /// How long a program that carried a stream may take to end after the stream was given up, and
    /// then after SIGTERM.
    pub hang_up: Duration,

    // A stream of an acceptor.
    /// How long a stream may take to show its token, or its number.
    pub hello: Duration,
    /// How long a stream that shows a wrong token is kept waiting.
    pub stranger: Duration,
    /// How long an acceptor waits for a stream while none is open.
    pub idle: Duration,
    /// How long nothing is accepted after the system ran out of descriptors.
    pub out_of_room: Duration,

    // A source.
    /// How long a sink may take no byte.
    pub source_stall: Duration,
    /// How long a sink may say nothing on a stream that another program carries, while it says
    /// something on other streams. No kernel finds out that such a stream is dead.
    pub mute: Duration,
    /// The same when the sink says nothing on other streams either.
    pub lonely_mute: Duration,
    /// How long an answer may take before the sink is told to wait, and how often it is told.
    pub wait: Duration,
    /// How long the peer has to read the error that ends a stream.
    pub linger: Duration,

    // A sink.
    /// How long a stream may bring nothing while other streams bring something.
    pub stall: Duration,
    /// The same when no other stream brings anything either.
    pub lonely_stall: Duration,
    /// How long a source may ask to wait for one answer.
    pub longest_wait: Duration,
    /// How long a stream sends nothing before it tells the source that it is there.
    pub idle_word: Duration,
    /// How often a stream tells the others that it moves.
    pub tell: Duration,
    /// Bytes come if one has come in this time.
    pub flow: Duration,
    /// How long an answer takes while nothing is known of that and nothing comes.
    pub first_answer: Duration,
    /// The same while bytes come: then the path is slow.
    pub slow_answer: Duration,
    /// A range that is owed for less than this is not late, however short the path is: on a
    /// busy machine a thread may wait that long for a processor.
    pub least_patience: Duration,
    /// The same where requests have hashes. Such an answer needs a processor on both sides, and a
    /// late range moves bytes that would not move.
    pub hash_patience: Duration,
    /// The same for a file of one request and for entries of a tree: a stream owes hundreds of
    /// them at once.
    pub tree_patience: Duration,
    /// The longest pause of the streams for a follower that is far behind. Then one more
    /// request goes out, so that a slow processor delays a transfer and does not end it.
    pub longest_pause: Duration,
    /// Between two checkpoints of the journal, at most.
    pub checkpoint: Duration,

    // A store.
    /// How long the holder of a lock may take to let go of it: the worker of a client that was
    /// killed needs a moment to end.
    pub let_go: Duration,
    /// The pause between two attempts to take a lock. The kernel has no lock with a deadline.
    pub let_go_pause: Duration,
    /// How long a complete file of a tree waits for the sync of its group, at least: so a fast
    /// disk still gets groups.
    pub soonest_landing: Duration,
    /// The same at most, however slow the last sync was.
    pub latest_landing: Duration,

    // The classic protocol.
    /// How long a refused connection is tried again: a classic server answers a moment
    /// before its sender listens.
    pub refused: Duration,
    /// The pause between two such attempts.
    pub refused_pause: Duration,
    /// How long a classic stream may bring nothing.
    pub classic_stall: Duration,
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            report: ms(100),
            connect: s(10),
            try_data_port: s(1),
            trust: s(5),
            first_backoff: ms(100),
            last_backoff: s(5),
            damage_backoff: ms(20),
            loss: s(5),
            deaf: s(30),
            leave: s(1),
            hang_up: s(5),
            hello: s(10),
            stranger: s(1),
            idle: s(30),
            out_of_room: ms(100),
            source_stall: s(60),
            mute: s(40),
            lonely_mute: s(90),
            wait: s(1),
            linger: s(5),
            stall: s(10),
            lonely_stall: s(30),
            longest_wait: s(600),
            idle_word: s(10),
            tell: ms(100),
            flow: s(5),
            first_answer: s(1),
            slow_answer: s(15),
            least_patience: ms(20),
            hash_patience: ms(200),
            tree_patience: ms(200),
            longest_pause: s(1),
            checkpoint: s(2),
            let_go: s(1),
            let_go_pause: ms(10),
            soonest_landing: ms(10),
            latest_landing: s(2),
            refused: s(5),
            refused_pause: ms(50),
            classic_stall: s(60),
        }
    }
}

impl Timing {
    /// The same waits, for a queue whose ranges are asked for with hashes.
    pub fn with_hashes(self) -> Timing {
        Timing { least_patience: self.least_patience.max(self.hash_patience), ..self }
    }

    /// The same waits, each divided by `divisor`.
    pub fn divided(self, divisor: u32) -> Timing {
        Timing {
            report: self.report / divisor,
            connect: self.connect / divisor,
            try_data_port: self.try_data_port / divisor,
            trust: self.trust / divisor,
            first_backoff: self.first_backoff / divisor,
            last_backoff: self.last_backoff / divisor,
            damage_backoff: self.damage_backoff / divisor,
            loss: self.loss / divisor,
            deaf: self.deaf / divisor,
            leave: self.leave / divisor,
            hang_up: self.hang_up / divisor,
            hello: self.hello / divisor,
            stranger: self.stranger / divisor,
            idle: self.idle / divisor,
            out_of_room: self.out_of_room / divisor,
            source_stall: self.source_stall / divisor,
            mute: self.mute / divisor,
            lonely_mute: self.lonely_mute / divisor,
            wait: self.wait / divisor,
            linger: self.linger / divisor,
            stall: self.stall / divisor,
            lonely_stall: self.lonely_stall / divisor,
            longest_wait: self.longest_wait / divisor,
            idle_word: self.idle_word / divisor,
            tell: self.tell / divisor,
            flow: self.flow / divisor,
            first_answer: self.first_answer / divisor,
            slow_answer: self.slow_answer / divisor,
            least_patience: self.least_patience / divisor,
            hash_patience: self.hash_patience / divisor,
            tree_patience: self.tree_patience / divisor,
            longest_pause: self.longest_pause / divisor,
            checkpoint: self.checkpoint / divisor,
            let_go: self.let_go / divisor,
            let_go_pause: self.let_go_pause / divisor,
            soonest_landing: self.soonest_landing / divisor,
            latest_landing: self.latest_landing / divisor,
            refused: self.refused / divisor,
            refused_pause: self.refused_pause / divisor,
            classic_stall: self.classic_stall / divisor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousandth_of_thirty_seconds_is_thirty_milliseconds() {
        let tests = Timing::default().divided(1000);
        assert_eq!(tests.lonely_stall, ms(30));
        assert_eq!(tests.least_patience, Duration::from_micros(20));
    }
}
