//! Hashes one file from its start to its end. Holes are not read. Before each stretch the
//! hasher asks how far it may go.

#![forbid(unsafe_code)]

use super::{Hashed, NoDigest};
use ropewalk::hash::Md5;
use ropewalk::sys::file::{Extent, extents};
use ropewalk::transfer::source::identity::{Identity, Version};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

/// The bytes of one read.
const BUFFER: usize = 128 << 10;

/// How old the last change of a settled file is at least. File systems keep time stamps in
/// steps of up to two seconds, so another change within a step would not show.
const SETTLED_AGE: Duration = Duration::from_secs(2);

/// Hashes `file`, which had this identity when it was opened. `until` gets the offset at
/// which a stretch begins, and returns a greater one, at which the stretch ends.
///
/// # Errors
/// What `until` returned, or that the file cannot be read.
pub(super) fn hash(
    file: &File,
    identity: &Identity,
    mut until: impl FnMut(u64) -> Result<u64, NoDigest>,
) -> Result<Hashed, NoDigest> {
    let begun = SystemTime::now();
    let Version { size, mtime, ctime } = identity.version;
    // A file of /proc claims to be empty, and is not: read it to learn its length.
    let end = if size == 0 { u64::MAX } else { size };
    let (mut digest, mut offset) = (Md5::new(), 0);
    'file: while offset < end {
        let stretch = offset..until(offset)?.min(end);
        // Freed while the hash waits for its next stretch, since many hashes may wait.
        let mut buffer = vec![0; BUFFER];
        for Extent { range, hole } in extents(file, stretch) {
            if hole {
                digest.update_zeros(range.end - range.start);
                offset = range.end;
            }
            while offset < range.end {
                let wanted = usize::try_from(range.end - offset).unwrap_or(BUFFER).min(BUFFER);
                match file.read_at(&mut buffer[..wanted], offset) {
                    Ok(0) => break 'file,
                    Ok(count) => {
                        digest.update(&buffer[..count]);
                        offset += count as u64;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(unreadable(&error)),
                }
            }
        }
    }
    let now = file.metadata().map_err(|error| unreadable(&error))?;
    let now = Identity::of(file, &now);
    Ok(Hashed {
        md5: digest.finish(),
        length: offset,
        unchanged: offset == size && now.same_as(identity),
        settled: mtime.is_older(SETTLED_AGE, begun) && ctime.is_older(SETTLED_AGE, begun),
    })
}

fn unreadable(error: &io::Error) -> NoDigest {
    NoDigest::Failed(error.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::hash::hex;
    use std::io::Write;

    fn scratch(name: &str) -> File {
        let path = std::env::temp_dir().join(format!("ropewalk-{}-{name}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    fn identity(file: &File) -> Identity {
        Identity::of(file, &file.metadata().unwrap())
    }

    fn whole(file: &File) -> Hashed {
        hash(file, &identity(file), |_| Ok(u64::MAX)).unwrap()
    }

    #[test]
    fn the_digest_is_that_of_rfc_1321() {
        let mut file = scratch("abc");
        file.write_all(b"message digest").unwrap();
        let hashed = whole(&file);
        assert_eq!(hex(&hashed.md5), "f96b697d7cb7938d525a2f31aaf161d0");
        assert_eq!((hashed.length, hashed.unchanged), (14, true));
        assert!(!hashed.settled);
    }

    #[test]
    fn nothing_has_a_digest_too() {
        let hashed = whole(&scratch("empty"));
        assert_eq!(hex(&hashed.md5), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!((hashed.length, hashed.unchanged), (0, true));
    }

    #[test]
    fn holes_are_zeros() {
        let file = scratch("holes");
        file.set_len(5 << 20).unwrap();
        file.write_all_at(&[7; 5000], (1 << 20) + 17).unwrap();
        file.write_all_at(b"end", (4 << 20) + 1).unwrap();
        let mut bytes = vec![0; 5 << 20];
        file.read_exact_at(&mut bytes, 0).unwrap();
        let mut expected = Md5::new();
        expected.update(&bytes);
        // Stretches end anywhere, also inside a hole.
        let hashed = hash(&file, &identity(&file), |offset| Ok(offset + 333_333)).unwrap();
        assert_eq!((hashed.md5, hashed.length), (expected.finish(), 5 << 20));
    }

    #[test]
    fn a_file_that_grows_while_it_is_hashed_has_changed() {
        let mut file = scratch("grown");
        file.write_all(&[1; 1000]).unwrap();
        let identity = identity(&file);
        let hashed = hash(&file, &identity, |_| {
            (&file).write_all(b"more").unwrap();
            Ok(u64::MAX)
        });
        let hashed = hashed.unwrap();
        assert_eq!((hashed.length, hashed.unchanged), (1000, false));
    }

    #[test]
    fn a_file_that_became_shorter_is_hashed_to_its_new_end() {
        let mut file = scratch("cut");
        file.write_all(&[1; 1000]).unwrap();
        let identity = identity(&file);
        let hashed = hash(&file, &identity, |_| {
            file.set_len(10).unwrap();
            Ok(u64::MAX)
        });
        let hashed = hashed.unwrap();
        assert_eq!((hashed.length, hashed.unchanged), (10, false));
    }

    #[test]
    fn a_file_that_only_claims_to_be_empty_is_read() {
        let file = File::open("/proc/self/status").unwrap();
        assert!(whole(&file).length > 0);
    }

    #[test]
    fn a_file_that_cannot_be_read_has_no_digest() {
        let file = File::open("/proc/self/mem").unwrap();
        let hashed = hash(&file, &identity(&file), |_| Ok(u64::MAX));
        assert_eq!(hashed, Err(NoDigest::Failed(Some(libc::EIO))));
    }

    #[test]
    fn a_hash_ends_when_the_schedule_stops_it() {
        let mut file = scratch("stop");
        file.write_all(b"x").unwrap();
        let hashed = hash(&file, &identity(&file), |_| Err(NoDigest::Stopping));
        assert_eq!(hashed, Err(NoDigest::Stopping));
    }

    #[test]
    fn an_old_file_is_settled() {
        let file = File::open("/etc/passwd").unwrap();
        assert!(whole(&file).settled);
    }
}
