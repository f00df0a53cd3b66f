//! The digests as a whole, with files, threads and clients.

use super::*;
use std::io::Write;
use std::net::{Shutdown, TcpListener};
use std::sync::mpsc;

fn client() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, there)
}

/// A file that is one hole. It takes long to hash and no time to make.
fn long_file(name: &str) -> (File, Identity) {
    let path = std::env::temp_dir().join(format!("ropewalk-{}-{name}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file.set_len(1 << 40).unwrap();
    let identity = Identity::of(&file, &file.metadata().unwrap());
    (file, identity)
}

/// Asks for a digest on a thread.
fn ask(
    digests: &Arc<Digests>,
    file: &File,
    identity: Identity,
    hurry: Hurry,
) -> (mpsc::Receiver<Result<Hashed, NoDigest>>, TcpStream) {
    let (tell, outcome) = mpsc::channel();
    let (here, there) = client();
    let (digests, file) = (digests.clone(), file.try_clone().unwrap());
    std::thread::spawn(move || tell.send(digests.digest(&file, &identity, &here, (hurry, None))));
    (outcome, there)
}

#[test]
fn a_file_that_was_hashed_once_has_a_known_digest() {
    let digests = Digests::new();
    let file = File::open("/etc/passwd").unwrap();
    let identity = Identity::of(&file, &file.metadata().unwrap());
    assert_eq!(digests.known(&identity.key()), None);
    let (outcome, _there) = ask(&digests, &file, identity, Hurry::BeforeTransfer);
    let hashed = outcome.recv().unwrap().unwrap();
    assert_eq!(digests.known(&identity.key()), Some(hashed.md5));
}

#[test]
fn a_client_whose_connection_breaks_is_given_up_at_once() {
    let digests = Digests::new();
    let (file, identity) = long_file("gone");
    let (mut here, there) = client();
    // An unread byte makes the close a reset.
    here.write_all(b"x").unwrap();
    there.peek(&mut [0]).unwrap();
    drop(there);
    let begun = Instant::now();
    let outcome = digests.digest(&file, &identity, &here, (Hurry::BeforeTransfer, None));
    assert_eq!(outcome, Err(NoDigest::Gone));
    assert!(begun.elapsed() < SILENT_WAIT);
    digests.stop();
}

#[test]
fn a_client_waits_no_longer_than_it_wants_and_may_ask_again() {
    let digests = Digests::new();
    let (file, identity) = long_file("later");
    let (here, _there) = client();
    for limit in [Duration::ZERO, Duration::from_millis(1)] {
        let wish = (Hurry::BeforeTransfer, Some(limit));
        assert_eq!(digests.digest(&file, &identity, &here, wish), Err(NoDigest::NotYet));
    }
    digests.stop();
}

#[test]
fn a_client_that_only_stopped_sending_still_gets_its_digest() {
    let digests = Digests::new();
    let file = File::open("/etc/passwd").unwrap();
    let identity = Identity::of(&file, &file.metadata().unwrap());
    let (here, there) = client();
    there.shutdown(Shutdown::Write).unwrap();
    assert!(digests.digest(&file, &identity, &here, (Hurry::WithTransfer, None)).is_ok());
}

#[test]
fn a_stop_ends_every_hash_and_every_wait() {
    let digests = Digests::new();
    let files = ["stop-1", "stop-2", "stop-3", "stop-4"].map(long_file);
    let waits = files
        .iter()
        .map(|(file, identity)| ask(&digests, file, *identity, Hurry::BeforeTransfer))
        .collect::<Vec<_>>();
    let begun = Instant::now();
    digests.stop();
    for (outcome, _there) in &waits {
        assert_eq!(outcome.recv().unwrap(), Err(NoDigest::Stopping));
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_panicking_hash_leaves_no_client_waiting() {
    let digests = Digests::new();
    let (bell, ringer) = UnixStream::pair().unwrap();
    let joined = {
        let mut schedule = lock(&digests.schedule);
        schedule.join("a", Hurry::WithTransfer, ringer, Instant::now()).unwrap()
    };
    drop(Finish { digests: digests.clone(), key: "a".into(), outcome: None });
    assert!(matches!(joined.outcome.get(), Some(Err(NoDigest::Failed(_)))));
    assert_eq!(ropewalk::sys::poll::readable(&[bell.as_fd()], None).unwrap(), [true]);
}
