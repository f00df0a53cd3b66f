//! How fast files land. Not part of the tests: run with `--ignored --nocapture`.

#![forbid(unsafe_code)]

use super::*;
use std::time::Instant;

/// Files, and the bytes of each.
const FILES: usize = 10_000;
const SIZE: usize = 4096;

/// Threads that write.
const WRITERS: usize = 4;

/// Writes and lands all files, and answers the seconds.
fn land_all(durable: bool, each: bool) -> f64 {
    let scratch = Scratch::beneath(&std::env::temp_dir(), durable);
    let start = Instant::now();
    let lander =
        Lander::new(scratch.tree.clone(), Box::new(|(), put: io::Result<()>| put.unwrap()));
    let write = |writer: usize| {
        for number in (writer..FILES).step_by(WRITERS) {
            let name = format!("f{number}");
            let name = OsStr::new(&name);
            let mut file = scratch.tree.create(&root(), name, Target::Absent).unwrap();
            file.put(0, &[7; SIZE]).unwrap();
            if each {
                file.file().sync_data().unwrap();
            }
            let complete = scratch.tree.complete(file, SIZE as u64, &plain()).unwrap();
            lander.land(complete, ());
        }
    };
    std::thread::scope(|scope| {
        let running = scope.spawn(|| lander.run());
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        lander.end();
        running.join().unwrap().unwrap();
    });
    start.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stderr)]
fn ten_thousand_files_of_four_kibibytes() {
    for _ in 0..5 {
        let (group, each, none) =
            (land_all(true, false), land_all(false, true), land_all(false, false));
        eprintln!("in groups {group:.2} s, fdatasync each {each:.2} s, without sync {none:.2} s");
    }
}
