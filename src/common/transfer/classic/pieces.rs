//! The files that the streams of a classic transfer write. A classic reply does not name the size
//! of the file. So the offset of stream 1 is not known before stream 0 ends. Each stream writes a
//! file of its own, and the files are joined in numeric order.
//!
//! Stream 0 belongs at offset 0 and writes the output's part file. The other streams write files
//! without a name, so that a client that is killed leaves nothing of them.

#![forbid(unsafe_code)]

use crate::hash::md5::Md5;
use crate::sys::dir::{Access, Dir};
use crate::sys::random;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes read at once while joining.
const BUFFER: usize = 128 << 10;

/// Makes `count` empty files without a name in `folder`, the folder of the output `name`.
pub fn nameless(folder: &Dir, name: &OsStr, count: usize) -> io::Result<Vec<File>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut token = [0; 8];
    random::fill(&mut token)?;
    let mut private_name = OsString::from(".");
    private_name.push(name);
    private_name.push(format!(".{:016x}", u64::from_ne_bytes(token)));
    let private = folder.make_dir(&private_name, 0o700)?;
    let piece = OsStr::new("piece");
    let files = (0..count)
        .map(|_| {
            let file = private.open_file(piece, Access::Create(0o600))?;
            private.remove_file(piece)?;
            Ok(file)
        })
        .collect();
    // After an error, the last file may still have its name.
    let _ = private.remove_file(piece);
    folder.remove_dir(&private_name)?;
    files
}

/// Appends `others`, in order, to `first`. Gives back the space of each file once it is copied.
/// Returns the MD5 of the whole and its length in bytes.
pub fn join(first: &File, others: impl IntoIterator<Item = File>) -> io::Result<([u8; 16], u64)> {
    let mut digest = Md5::new();
    let mut buffer = vec![0; BUFFER];
    let mut length = each_buffer(first, &mut buffer, |bytes, _| {
        digest.update(bytes);
        Ok(())
    })?;
    for other in others {
        length += each_buffer(&other, &mut buffer, |bytes, offset| {
            digest.update(bytes);
            first.write_all_at(bytes, length + offset)
        })?;
        // The file may be open elsewhere, and would keep its space. A refusal does no other harm.
        let _ = other.set_len(0);
    }
    Ok((digest.finish(), length))
}

/// Reads `file` from its start, and calls `take` with each piece and its offset. Returns the
/// number of bytes.
pub fn each_buffer(
    file: &File,
    buffer: &mut [u8],
    mut take: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<u64> {
    let mut offset = 0;
    loop {
        match file.read_at(buffer, offset) {
            Ok(0) => return Ok(offset),
            Ok(count) => {
                take(&buffer[..count], offset)?;
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::hex;

    #[test]
    fn pieces_have_no_name_and_join_in_numeric_order() {
        let path = std::env::temp_dir().join(format!("ropewalk-pieces-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let folder = Dir::open(&path).unwrap();
        let mut files = nameless(&folder, OsStr::new("out"), 12).unwrap();
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
        std::fs::remove_dir(&path).unwrap();

        for (number, file) in files.iter().enumerate() {
            file.write_all_at(format!("{number},").as_bytes(), 0).unwrap();
        }
        let first = files.remove(0);
        let (md5, length) = join(&first, files).unwrap();
        let mut text = vec![0; length as usize];
        first.read_exact_at(&mut text, 0).unwrap();
        assert_eq!(text, b"0,1,2,3,4,5,6,7,8,9,10,11,");
        let mut expected = Md5::new();
        expected.update(&text);
        assert_eq!(hex(&md5), hex(&expected.finish()));
    }

    #[test]
    fn no_pieces_need_no_folder() {
        let folder = Dir::open(std::path::Path::new("/proc")).unwrap();
        assert!(nameless(&folder, OsStr::new("out"), 0).unwrap().is_empty());
    }

    #[test]
    fn a_piece_that_is_longer_than_the_buffer_is_joined_whole() {
        let path = std::env::temp_dir().join(format!("ropewalk-long-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let files = nameless(&Dir::open(&path).unwrap(), OsStr::new("out"), 2).unwrap();
        std::fs::remove_dir(&path).unwrap();
        let long: Vec<u8> = (0..BUFFER + 999).map(|at| (at % 251) as u8).collect();
        files[1].write_all_at(&long, 0).unwrap();
        files[0].write_all_at(b"start", 0).unwrap();
        let (_, length) = join(&files[0], [files[1].try_clone().unwrap()]).unwrap();
        let mut whole = vec![0; length as usize];
        files[0].read_exact_at(&mut whole, 0).unwrap();
        assert!(whole == [&b"start"[..], &long].concat());
    }
}
