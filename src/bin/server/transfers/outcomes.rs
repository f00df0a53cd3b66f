//! What came of pushes: from the start of each until a minute after its end, for the client that
//! asks. Only who knows a session's token hears of it.

#![forbid(unsafe_code)]

use ropewalk::codec::message::outcome::{Outcome, OutcomeRequest, PushState};
use ropewalk::error::ExitCode;
use ropewalk::sys::sync::{lock, wait_for};
use ropewalk::transfer::link::token::Token;
use std::ffi::OsString;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long an outcome is kept.
const KEPT: Duration = Duration::from_secs(60);

/// The same of a lost session: its figures belong to the push that goes on.
const LOST_KEPT: Duration = Duration::from_secs(600);

/// The most outcomes that are kept; beyond that the oldest go.
const MOST_KEPT: usize = 256;

/// How long the server waits for the client's MD5, behind the last request of the client.
const MD5_PATIENCE: Duration = Duration::from_secs(60);

/// What a push writes: the device and the inode of its folder, and the name in it.
pub(crate) type Key = (u64, u64, OsString);

/// All of them.
#[derive(Default)]
pub(crate) struct Outcomes {
    content: Mutex<Content>,
    changed: Condvar,
}

#[derive(Default)]
struct Content {
    /// The oldest first.
    pushes: Vec<Push>,
    stopping: bool,
}

struct Push {
    token: Token,
    key: Key,
    state: PushState,
    /// The client's MD5.
    md5: Option<[u8; 16]>,
    /// When the client asked last, or the push began.
    asked: Instant,
    /// How many of its requests are waiting.
    asking: u32,
    /// How long the client may be silent, where something waits for the end of the push.
    patience: Option<Duration>,
    /// When it ended.
    ended: Option<Instant>,
}

impl Push {
    /// How long its MD5 is still waited for. A client that is there has its time, unless the
    /// push is to end in any case.
    fn time_for_md5(&self) -> Duration {
        let limit = match self.patience {
            Some(patience) if patience.is_zero() || self.asking == 0 => patience,
            Some(_) | None => MD5_PATIENCE,
        };
        limit.saturating_sub(self.asked.elapsed())
    }

    /// How long its outcome is kept.
    fn kept_for(&self) -> Duration {
        match &self.state {
            PushState::Ended(outcome) if outcome.code == ExitCode::Network => LOST_KEPT,
            PushState::Moving | PushState::Landing | PushState::Ended(_) => KEPT,
        }
    }
}

impl Content {
    fn find(&mut self, token: &[u8; 16]) -> Option<&mut Push> {
        // Takes the same time for every wrong token.
        self.pushes.iter_mut().fold(None, |found, push| match push.token.is(token) {
            true => Some(push),
            false => found,
        })
    }

    fn tidy(&mut self, now: Instant) {
        self.pushes.retain(|push| push.ended.is_none_or(|ended| now - ended < push.kept_for()));
        let ended = self.pushes.iter().filter(|push| push.ended.is_some()).count();
        for _ in MOST_KEPT..ended {
            if let Some(oldest) = self.pushes.iter().position(|push| push.ended.is_some()) {
                self.pushes.remove(oldest);
            }
        }
    }
}

impl Outcomes {
    /// A push begins. It has to end by [`Outcomes::end`].
    pub(crate) fn begin(&self, token: Token, key: Key) {
        let (mut content, now) = (lock(&self.content), Instant::now());
        content.tidy(now);
        let state = PushState::Moving;
        content.pushes.push(Push {
            token,
            key,
            state,
            md5: None,
            asked: now,
            asking: 0,
            patience: None,
            ended: None,
        });
    }

    /// Whether this is the session of a push, also of one that has ended a moment ago.
    pub(crate) fn knows(&self, token: &[u8; 16]) -> bool {
        lock(&self.content).find(token).is_some()
    }

    /// What came of a lost session that wrote this.
    pub(crate) fn of_lost(&self, token: &[u8; 16], key: &Key) -> Option<Outcome> {
        let mut content = lock(&self.content);
        let push = content.find(token).filter(|push| push.key == *key)?;
        match &push.state {
            PushState::Ended(outcome) if outcome.code == ExitCode::Network => Some(outcome.clone()),
            PushState::Moving | PushState::Landing | PushState::Ended(_) => None,
        }
    }

    /// The session that writes this, if one does.
    pub(crate) fn writer_of(&self, key: &Key) -> Option<[u8; 16]> {
        let content = lock(&self.content);
        let mut writers = content.pushes.iter().filter(|push| push.ended.is_none());
        writers.find(|push| push.key == *key).map(|push| push.token.bytes())
    }

    /// All bytes of a push are there.
    pub(crate) fn is_landing(&self, token: &Token) {
        self.set(token, PushState::Landing);
    }

    /// A push has ended.
    pub(crate) fn end(&self, token: &Token, outcome: Outcome) {
        self.set(token, PushState::Ended(outcome));
        lock(&self.content).tidy(Instant::now());
    }

    fn set(&self, token: &Token, state: PushState) {
        if let Some(push) = lock(&self.content).find(&token.bytes()) {
            match state {
                PushState::Moving => {}
                // Until now the client had no reason to ask.
                PushState::Landing => push.asked = Instant::now(),
                PushState::Ended(_) => push.ended = Some(Instant::now()),
            }
            push.state = state;
        }
        self.changed.notify_all();
    }

    /// Answers a client; waits for the end of its push for as long as the client says. `has_gone`
    /// says whether the client waits no more. `None` for a session that is unknown.
    pub(crate) fn answer(
        &self,
        request: &OutcomeRequest,
        has_gone: &dyn Fn() -> bool,
    ) -> Option<PushState> {
        let (begun, mut content) = (Instant::now(), lock(&self.content));
        content.tidy(begun);
        let push = content.find(&request.token)?;
        push.asked = begun;
        push.asking += 1;
        if request.md5.is_some() {
            push.md5 = request.md5;
            self.changed.notify_all();
        }
        let mut content = self.wait(content, &request.token, begun + request.wait, has_gone);
        let push = content.find(&request.token)?;
        push.asking -= 1;
        push.asked = Instant::now();
        self.changed.notify_all();
        Some(push.state.clone())
    }

    /// Something waits for the end of a push: its MD5 is waited for no more once the client has
    /// been silent for `patience`; with zero, at once. `None` if nothing waits any more.
    pub(crate) fn give_way(&self, token: &[u8; 16], patience: Option<Duration>) {
        if let Some(push) = lock(&self.content).find(token) {
            push.patience = patience;
        }
        self.changed.notify_all();
    }

    /// Waits until the session with this token has ended; an unknown one has. Whether it has.
    pub(crate) fn wait_for_end(&self, token: &[u8; 16], limit: Duration) -> bool {
        let content = lock(&self.content);
        let mut content = self.wait(content, token, Instant::now() + limit, &|| false);
        content.find(token).is_none_or(|push| push.ended.is_some())
    }

    /// Waits until all bytes of a push are there, or it has ended. Whether that is so.
    pub(crate) fn has_all(&self, token: &[u8; 16], limit: Duration) -> bool {
        let (until, mut content) = (Instant::now() + limit, lock(&self.content));
        loop {
            let moves = |push: &mut Push| matches!(push.state, PushState::Moving);
            let left = until.saturating_duration_since(Instant::now());
            match content.find(token).is_some_and(moves) {
                false => return true,
                true if content.stopping || left.is_zero() => return false,
                true => content = wait_for(&self.changed, content, left),
            }
        }
    }

    fn wait<'a>(
        &self,
        mut content: MutexGuard<'a, Content>,
        token: &[u8; 16],
        until: Instant,
        has_gone: &dyn Fn() -> bool,
    ) -> MutexGuard<'a, Content> {
        loop {
            // A client that has gone matters only if something waits for its push.
            let is_over = content
                .find(token)
                .is_none_or(|push| push.ended.is_some() || (push.patience.is_some() && has_gone()));
            let left = until.saturating_duration_since(Instant::now());
            if is_over || content.stopping || left.is_zero() {
                return content;
            }
            content = wait_for(&self.changed, content, left);
        }
    }

    /// Waits for the client's MD5 of a push. `None` if the client does not ask any more.
    pub(crate) fn md5(&self, token: &Token) -> Option<[u8; 16]> {
        let mut content = lock(&self.content);
        loop {
            let stopping = content.stopping;
            let push = content.find(&token.bytes())?;
            let left = push.time_for_md5();
            if push.md5.is_some() || stopping || left.is_zero() {
                return push.md5;
            }
            content = wait_for(&self.changed, content, left);
        }
    }

    /// Ends every wait, now and later.
    pub(crate) fn stop(&self) {
        lock(&self.content).stopping = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    const LONG: Duration = Duration::from_secs(20);

    /// A client that is there.
    const HERE: fn() -> bool = || false;

    fn key(name: &str) -> Key {
        (1, 2, name.into())
    }

    fn ask(token: &Token, wait: Duration, md5: Option<[u8; 16]>) -> OutcomeRequest {
        OutcomeRequest { token: token.bytes(), wait, md5 }
    }

    fn done() -> Outcome {
        Outcome::failed(ExitCode::Success, "complete")
    }

    #[test]
    fn a_client_hears_of_each_state_and_waits_for_the_end() {
        let (outcomes, token) = (Outcomes::default(), Token::random().unwrap());
        let now = || outcomes.answer(&ask(&token, Duration::ZERO, None), &HERE);
        assert_eq!(now(), None);
        outcomes.begin(token, key("a"));
        assert_eq!(now(), Some(PushState::Moving));
        outcomes.is_landing(&token);
        assert_eq!(now(), Some(PushState::Landing));
        thread::scope(|scope| {
            let waits = scope.spawn(|| outcomes.answer(&ask(&token, LONG, None), &HERE));
            outcomes.end(&token, done());
            assert_eq!(waits.join().unwrap(), Some(PushState::Ended(done())));
        });
        assert_eq!(now(), Some(PushState::Ended(done())));
        assert!(outcomes.answer(&ask(&Token::random().unwrap(), LONG, None), &HERE).is_none());
    }

    #[test]
    fn the_md5_of_a_client_is_waited_for() {
        let (outcomes, token) = (Outcomes::default(), Token::random().unwrap());
        outcomes.begin(token, key("a"));
        thread::scope(|scope| {
            let waits = scope.spawn(|| outcomes.md5(&token));
            outcomes.answer(&ask(&token, Duration::ZERO, None), &HERE);
            outcomes.answer(&ask(&token, Duration::ZERO, Some([7; 16])), &HERE);
            assert_eq!(waits.join().unwrap(), Some([7; 16]));
        });
    }

    #[test]
    fn one_that_has_ended_writes_nothing_any_more() {
        let (outcomes, token) = (Outcomes::default(), Token::random().unwrap());
        outcomes.begin(token, key("a"));
        assert_eq!(outcomes.writer_of(&key("a")), Some(token.bytes()));
        assert_eq!(outcomes.writer_of(&key("b")), None);
        assert!(!outcomes.wait_for_end(&token.bytes(), Duration::ZERO));
        outcomes.end(&token, done());
        assert_eq!(outcomes.writer_of(&key("a")), None);
        assert!(outcomes.wait_for_end(&token.bytes(), LONG));
    }

    #[test]
    fn a_lost_session_is_known_to_the_one_that_goes_on_with_the_same_name() {
        let (outcomes, token) = (Outcomes::default(), Token::random().unwrap());
        let lost = |name: &str| outcomes.of_lost(&token.bytes(), &key(name));
        outcomes.begin(token, key("a"));
        assert_eq!(lost("a"), None, "it has not ended");
        let outcome = Outcome { bytes: 7, ..Outcome::failed(ExitCode::Network, "lost") };
        outcomes.end(&token, outcome.clone());
        assert_eq!((lost("a"), lost("b")), (Some(outcome), None));
        outcomes.end(&token, done());
        assert_eq!(lost("a"), None, "it was not lost");
    }

    #[test]
    fn the_figures_of_a_lost_session_are_kept_for_as_long_as_a_client_may_be_away() {
        let Some(ended) = Instant::now().checked_sub(2 * KEPT) else { return };
        for (code, is_kept) in [(ExitCode::Success, false), (ExitCode::Network, true)] {
            let (outcomes, token) = (Outcomes::default(), Token::random().unwrap());
            outcomes.begin(token, key("a"));
            outcomes.end(&token, Outcome::failed(code, "ended"));
            lock(&outcomes.content).find(&token.bytes()).unwrap().ended = Some(ended);
            lock(&outcomes.content).tidy(Instant::now());
            assert_eq!(outcomes.knows(&token.bytes()), is_kept);
        }
    }

    #[test]
    fn the_end_of_the_server_ends_every_wait() {
        let (outcomes, token) = (Outcomes::default(), Token::random().unwrap());
        outcomes.begin(token, key("a"));
        thread::scope(|scope| {
            let waits = scope.spawn(|| outcomes.answer(&ask(&token, LONG, None), &HERE));
            let md5 = scope.spawn(|| outcomes.md5(&token));
            outcomes.stop();
            assert_eq!(waits.join().unwrap(), Some(PushState::Moving));
            assert_eq!(md5.join().unwrap(), None);
        });
    }

    #[test]
    fn a_client_that_asks_keeps_its_name_while_its_md5_is_missing() {
        let (outcomes, token) = (&Outcomes::default(), Token::random().unwrap());
        outcomes.begin(token, key("a"));
        outcomes.is_landing(&token);
        let gone = AtomicBool::new(false);
        thread::scope(|scope| {
            let has_gone = || gone.load(Ordering::Relaxed);
            let asks = scope.spawn(move || outcomes.answer(&ask(&token, LONG, None), &has_gone));
            let waits = scope.spawn(move || outcomes.md5(&token));
            while lock(&outcomes.content).find(&token.bytes()).unwrap().asking == 0 {
                thread::yield_now();
            }
            outcomes.give_way(&token.bytes(), Some(Duration::from_nanos(1)));
            let left = lock(&outcomes.content).find(&token.bytes()).unwrap().time_for_md5();
            assert!(!left.is_zero(), "the client is there");
            gone.store(true, Ordering::Relaxed);
            outcomes.give_way(&token.bytes(), Some(Duration::from_nanos(1)));
            assert_eq!(asks.join().unwrap(), Some(PushState::Landing));
            assert_eq!(waits.join().unwrap(), None);
        });
    }

    #[test]
    fn a_client_that_ends_its_push_is_not_waited_for() {
        let (outcomes, token) = (Outcomes::default(), Token::random().unwrap());
        outcomes.begin(token, key("a"));
        outcomes.is_landing(&token);
        outcomes.give_way(&token.bytes(), Some(Duration::ZERO));
        assert_eq!(outcomes.md5(&token), None);
    }

    #[test]
    fn a_client_whose_push_took_long_still_has_the_time_to_send_its_md5() {
        let (outcomes, token) = (Outcomes::default(), Token::random().unwrap());
        outcomes.begin(token, key("a"));
        let patience = |outcomes: &Outcomes| {
            let mut content = lock(&outcomes.content);
            let push = content.find(&token.bytes()).unwrap();
            push.time_for_md5()
        };
        let long_ago = Instant::now().checked_sub(2 * MD5_PATIENCE);
        let Some(long_ago) = long_ago else { return };
        lock(&outcomes.content).find(&token.bytes()).unwrap().asked = long_ago;
        assert!(patience(&outcomes).is_zero());
        outcomes.is_landing(&token);
        assert!(!patience(&outcomes).is_zero());
    }

    #[test]
    fn the_oldest_outcomes_go_when_there_are_many() {
        let outcomes = Outcomes::default();
        let tokens: Vec<Token> = (0..MOST_KEPT + 9).map(|_| Token::random().unwrap()).collect();
        for token in &tokens {
            outcomes.begin(*token, key("a"));
            outcomes.end(token, done());
        }
        let known =
            |token: &Token| outcomes.answer(&ask(token, Duration::ZERO, None), &HERE).is_some();
        assert!(!known(&tokens[8]) && known(&tokens[9]));
    }
}
