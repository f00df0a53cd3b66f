//! How fast the checksums are, in GB/s (10^9 bytes a second). Measures; judges nothing.
//!
//! `cargo bench --bench hash` runs each over data in memory and over data in the
//! processor's cache, several times, and prints the best. With `-- --file PATH`
//! it only reads that file and prints its MD5 and the speed, as `md5sum` would:
//! `scripts/bench/hash.sh` compares the two.

#![forbid(unsafe_code)]
// Its output is its result.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::time::Instant;

use ropewalk::hash::{Md5, Sha256, crc32c, hex};

/// Bytes of data in memory: far more than any cache holds.
const MEMORY: usize = 128 << 20;

/// Bytes of data in the cache, and of each piece that a checksum gets: the size of a transfer's
/// buffer.
const CHUNK: usize = 128 << 10;

/// How often each checksum runs over the data. The fastest run counts.
const PASSES: usize = 5;

/// A checksum of a whole message, given in chunks. Its result does not matter.
type Checksum = fn(&[u8]);

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench` itself.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => {
            in_memory();
            Ok(())
        }
        (Some("--file"), Some(path)) => of_file(&path),
        _ => Err("usage: hash [--file PATH]".into()),
    }
}

/// Measures every checksum and prints a line for each.
fn in_memory() {
    let checksums: [(&str, Checksum); 5] = [
        ("md5", md5),
        ("crc32c", |data| crc(data, crc32c::extend)),
        ("crc32c, tables only", |data| crc(data, crc32c::table::extend)),
        ("sha256", |data| sha256(data, Sha256::new())),
        ("sha256, scalar", |data| sha256(data, Sha256::portable())),
    ];
    let data: Vec<u8> = (0..MEMORY).map(|at| (at * 7 + at / 251) as u8).collect();
    println!("{:<20} {:>11} {:>11}", "GB/s", "from memory", "from cache");
    for (name, checksum) in checksums {
        let memory = speed(&data, checksum);
        let cache = speed(&data[..CHUNK], checksum);
        println!("{name:<20} {memory:>11.3} {cache:>11.3}");
    }
}

/// The best speed of `checksum` over `data`, in GB/s.
fn speed(data: &[u8], checksum: Checksum) -> f64 {
    let rounds = MEMORY / data.len();
    let mut best = 0.0_f64;
    for _ in 0..PASSES {
        let start = Instant::now();
        for _ in 0..rounds {
            checksum(black_box(data));
        }
        best = best.max(gigabytes_per_second(MEMORY, start));
    }
    best
}

/// Reads the file once, start to end, and prints its MD5 and the speed.
fn of_file(path: &str) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; CHUNK];
    let mut hash = Md5::new();
    let mut size = 0;
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        hash.update(&buffer[..length]);
        size += length;
    }
    let digest = hex(&hash.finish());
    println!("{digest}  {:.3} GB/s", gigabytes_per_second(size, start));
    Ok(())
}

/// The speed of `bytes` since `start`, in GB/s.
fn gigabytes_per_second(bytes: usize, start: Instant) -> f64 {
    bytes as f64 / start.elapsed().as_secs_f64() / 1e9
}

fn md5(data: &[u8]) {
    let mut hash = Md5::new();
    data.chunks(CHUNK).for_each(|chunk| hash.update(chunk));
    black_box(hash.finish());
}

fn sha256(data: &[u8], mut hash: Sha256) {
    data.chunks(CHUNK).for_each(|chunk| hash.update(chunk));
    black_box(hash.finish());
}

fn crc(data: &[u8], extend: fn(u32, &[u8]) -> u32) {
    black_box(data.chunks(CHUNK).fold(0, extend));
}
