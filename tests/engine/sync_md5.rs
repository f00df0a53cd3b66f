//! A tree that is checked by MD5, against a source that a test plays: bytes that are wrong under a
//! right checksum never get a name.

use crate::content;
use crate::sync_hostile::{Place, Run, data, file, page, refuse};
use ropewalk::codec::message::report::Act;
use ropewalk::codec::message::tree_options::TreeOptions;
use ropewalk::codec::message::verify::Verify;
use ropewalk::codec::wire::{
    HELLO_SIZE, Header, LONGEST_REQUEST, MAX_HASHED, RefusalCode, Request,
};
use ropewalk::hash::{MD5_UNIT, Md5};
use ropewalk::transfer::sink::tree::Wanted;
use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A block of the sink.
const BLOCK: usize = 128 << 10;

/// A source of a folder with these files.
struct Source {
    files: HashMap<String, Vec<u8>>,
    /// How many more times the byte at this offset of each file is sent wrong, under a right CRC.
    lies: Mutex<HashMap<String, (u64, usize)>>,
    /// How often an MD5 was asked for, and what is done then beside the right answer.
    asked: AtomicUsize,
    on_md5: Box<OnMd5>,
}

/// Whether the request is dealt with.
type OnMd5 = dyn Fn(&mut TcpStream, usize, &str) -> bool + Send + Sync;

impl Source {
    fn new(files: &[(&str, usize)]) -> Source {
        let files = files.iter().map(|(name, size)| (name.to_string(), content(*size))).collect();
        let (lies, asked) = (Mutex::default(), AtomicUsize::new(0));
        Source { files, lies, asked, on_md5: Box::new(|_, _, _| false) }
    }

    fn lie(self, name: &str, offset: u64, times: usize) -> Source {
        self.lies.lock().unwrap().insert(name.into(), (offset, times));
        self
    }

    fn run(self, place: &Place) -> (Run, Arc<Source>) {
        let source = Arc::new(self);
        let serving = source.clone();
        let options = TreeOptions { verbose: true, ..TreeOptions::default() };
        let wanted = Wanted { verify: Verify::Md5, ..place.wanted(options) };
        let run = place.run_against(wanted, move |stream| serving.serve(stream));
        (run, source)
    }

    fn serve(&self, mut stream: TcpStream) {
        if stream.read_exact(&mut [0; HELLO_SIZE]).is_err() {
            return;
        }
        let (mut buffer, mut filled) = (vec![0; LONGEST_REQUEST], 0);
        loop {
            let Ok(Some((used, request))) = Request::parse(&buffer[..filled]) else {
                match stream.read(&mut buffer[filled..]) {
                    Ok(count @ 1..) => filled += count,
                    _ => return,
                }
                continue;
            };
            match request {
                Request::List { .. } => {
                    let mut names: Vec<&String> = self.files.keys().collect();
                    names.sort();
                    let entry = |name: &&String| self.files[*name].len() as u64;
                    let entries: Vec<_> =
                        names.iter().map(|name| file(name.as_bytes(), entry(name))).collect();
                    page(&mut stream, &entries);
                }
                Request::Range { name, offset, length, .. } => {
                    self.send(&mut stream, &text(name), offset..offset + u64::from(length));
                }
                Request::Md5 { name, offset, length, state, .. } => {
                    let count = self.asked.fetch_add(1, Ordering::Relaxed);
                    if !(self.on_md5)(&mut stream, count, &text(name)) {
                        let range = offset..offset + u64::from(length);
                        self.say_md5(&mut stream, &text(name), range, state);
                    }
                }
                Request::Idle | Request::Streams { .. } => {}
                Request::Finished | Request::Leave => return,
            }
            buffer.copy_within(used..filled, 0);
            filled -= used;
        }
    }

    fn send(&self, stream: &mut TcpStream, name: &str, range: Range<u64>) {
        let mut bytes = self.files[name][range.start as usize..range.end as usize].to_vec();
        if let Some((offset, times)) = self.lies.lock().unwrap().get_mut(name) {
            if range.contains(offset) && *times > 0 {
                *times -= 1;
                bytes[(*offset - range.start) as usize] ^= 1;
            }
        }
        data(stream, range.start, &bytes);
    }

    fn say_md5(&self, stream: &mut TcpStream, name: &str, range: Range<u64>, state: [u8; 16]) {
        let bytes = &self.files[name];
        let is_last = range.end == bytes.len() as u64;
        assert!(range.start % MD5_UNIT == 0 && (is_last || range.end % MD5_UNIT == 0));
        let mut md5 = Md5::after(range.start, state).unwrap();
        md5.update(&bytes[range.start as usize..range.end as usize]);
        let md5 = if is_last { md5.finish() } else { md5.state() };
        let length = (range.end - range.start) as u32;
        let _ = stream.write_all(&Header::Md5 { length, md5 }.encode());
    }

    /// Demands that everything is here.
    fn assert_same(&self, place: &Place) {
        for (name, bytes) in &self.files {
            assert!(fs::read(place.here(name)).unwrap() == *bytes, "{name}");
        }
        assert_eq!(place.names().len(), self.files.len());
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8(name.to_vec()).unwrap()
}

/// One file of a block, one of a request, one of many, and one of several MD5s.
const FILES: [(&str, usize); 4] =
    [("a", BLOCK), ("b", BLOCK + 1), ("c", 3_000_001), ("d", MAX_HASHED as usize + 70)];

#[test]
fn each_file_that_is_longer_than_a_block_is_compared() {
    let place = Place::new();
    let (run, source) = Source::new(&FILES).run(&place);
    source.assert_same(&place);
    assert_eq!((run.tally().files, run.tally().hashed), (4, 3));
    // The longest one has two. What is late is asked for again.
    assert!(source.asked.load(Ordering::Relaxed) >= 4);
}

#[test]
fn wrong_bytes_under_a_right_checksum_are_fetched_again() {
    for (name, offset) in [("b", 5), ("b", BLOCK as u64), ("c", 2_999_999), ("d", 7)] {
        let place = Place::new();
        let (run, source) = Source::new(&FILES).lie(name, offset, 2).run(&place);
        source.assert_same(&place);
        assert_eq!(source.lies.lock().unwrap()[name].1, 0);
        let tally = run.tally();
        assert_eq!((tally.files, tally.hashed, tally.refused), (4, 3, 0), "{name} {:?}", run.told);
    }
}

#[test]
fn a_file_that_is_wrong_each_time_gets_no_name_and_is_refused() {
    for name in ["b", "c"] {
        let place = Place::new();
        fs::write(place.here(name), b"older").unwrap();
        let (run, source) = Source::new(&FILES).lie(name, 9, usize::MAX).run(&place);
        assert_eq!(run.refused(), [name]);
        let words = run.told.iter().find(|told| told.0 == Act::Refused).unwrap();
        assert!(words.2.contains("MD5"), "{}", words.2);
        assert_eq!((run.tally().files, run.tally().refused), (3, 1));
        assert_eq!(fs::read(place.here(name)).unwrap(), b"older");
        assert_eq!(place.names(), ["a", "b", "c", "d"]);
        let left = source.lies.lock().unwrap()[name].1;
        assert!((2..100).contains(&(usize::MAX - left)), "{}", usize::MAX - left);
    }
}

#[test]
fn an_md5_that_a_broken_stream_owes_is_asked_for_on_another() {
    for name in ["b", "d"] {
        let place = Place::new();
        let mut source = Source::new(&FILES);
        let is_cut = AtomicUsize::new(0);
        source.on_md5 = Box::new(move |stream, _, asked| {
            let cuts = asked == name && is_cut.fetch_add(1, Ordering::Relaxed) < 3;
            if cuts {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
            cuts
        });
        let (run, source) = source.run(&place);
        source.assert_same(&place);
        assert_eq!((run.tally().hashed, run.tally().refused), (3, 0), "{:?}", run.told);
    }
}

#[test]
fn a_source_that_refuses_an_md5_has_not_sent_the_file() {
    for name in ["b", "c"] {
        for (code, refused) in [(RefusalCode::Gone, 0), (RefusalCode::Unreadable, 1)] {
            let place = Place::new();
            let mut source = Source::new(&FILES);
            source.on_md5 = Box::new(move |stream, _, asked| {
                if asked == name {
                    refuse(stream, code, None);
                }
                asked == name
            });
            let (run, _) = source.run(&place);
            assert_eq!((run.tally().files, run.tally().refused), (3, refused), "{:?}", run.told);
            assert!(!place.here(name).exists() && place.names().len() == 3);
        }
    }
}

#[test]
fn a_file_that_has_changed_when_its_md5_is_asked_for_is_fetched_again() {
    for name in ["b", "c"] {
        let place = Place::new();
        let mut source = Source::new(&FILES);
        let size = source.files[name].len() as u64;
        let is_first = AtomicUsize::new(0);
        source.on_md5 = Box::new(move |stream, _, asked| {
            let changes = asked == name && is_first.fetch_add(1, Ordering::Relaxed) == 0;
            if changes {
                refuse(stream, RefusalCode::Changed, Some(&file(asked.as_bytes(), size)));
            }
            changes
        });
        let (run, source) = source.run(&place);
        source.assert_same(&place);
        assert_eq!((run.tally().hashed, run.tally().refused), (3, 0), "{:?}", run.told);
    }
}

#[test]
fn an_answer_for_other_bytes_than_were_asked_for_ends_the_stream() {
    let place = Place::new();
    let mut source = Source::new(&[("c", 3_000_001)]);
    source.on_md5 = Box::new(|stream, count, _| {
        let length = if count % 2 == 0 { 3_000_000 } else { 3_000_002 };
        if count < 4 {
            let _ = stream.write_all(&Header::Md5 { length, md5: [0; 16] }.encode());
        }
        count < 4
    });
    let (run, source) = source.run(&place);
    source.assert_same(&place);
    assert_eq!(run.tally().hashed, 1);
}
