//! From a request's target to an open file or folder. Only `Tree` opens files and folders
//! that a client names.

#![forbid(unsafe_code)]

use crate::answer::unavailable;
use ropewalk::codec::http::{Refusal, Status};
use ropewalk::codec::message::offer::FolderState;
use ropewalk::codec::percent;
use ropewalk::sys::dir::{Access, Dir};
use ropewalk::sys::file;
use ropewalk::transfer::source::confine::{Refused, Root};
use ropewalk::transfer::source::identity::Identity;
use ropewalk::transfer::source::tree::state_of;
use ropewalk::transfer::store::names;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// An open regular file that a client may fetch.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The file.
    pub(crate) file: File,
    /// Its identity when it was opened.
    pub(crate) identity: Identity,
}

/// An open folder that a client may fetch with everything below it.
#[derive(Debug)]
pub(crate) struct OpenedFolder {
    /// The folder.
    pub(crate) dir: Dir,
    /// What it was when it was opened.
    pub(crate) state: FolderState,
}

/// What a client that can take a folder gets.
#[derive(Debug)]
pub(crate) enum Found {
    /// A regular file.
    File(Opened),
    /// A folder.
    Folder(OpenedFolder),
}

/// The path in a target, decoded and without the query. A path that begins with a slash is
/// absolute; any other starts at the server's working directory.
///
/// # Errors
/// 400 for a malformed percent-encoding.
pub(crate) fn path(target: &[u8]) -> Result<Vec<u8>, Refusal> {
    decode(without_query(target))
}

/// The path in a target, as the client encoded it.
pub(crate) fn without_query(target: &[u8]) -> &[u8] {
    let target = after_authority(target).unwrap_or(target);
    target.split(|&byte| byte == b'?').next().unwrap_or_default()
}

/// Decodes a percent-encoded path, or a part of it.
pub(crate) fn decode(path: &[u8]) -> Result<Vec<u8>, Refusal> {
    percent::decode(path)
        .map_err(|_| Refusal::new(Status::BAD_REQUEST, "the path is not percent-encoded"))
}

/// The target's path as a link on the same host, encoded anew, since a target may have any
/// bytes in it. The link begins with exactly one slash, since two would begin a host. Of a
/// target that begins with no slash, which no browser sends, it is the last segment.
pub(crate) fn reference(target: &[u8]) -> Result<String, Refusal> {
    let path = without_query(target);
    let encode = |segment| decode(segment).map(|segment| percent::encode_segment(&segment));
    let segments: Vec<String> =
        path.split(|&byte| byte == b'/').map(encode).collect::<Result<_, Refusal>>()?;
    Ok(match path.starts_with(b"/") {
        true => format!("/{}", segments.join("/").trim_start_matches('/')),
        false => segments.last().cloned().unwrap_or_default(),
    })
}

/// The part behind the host of a target in absolute form, which every server must accept
/// (RFC 9112, section 3.2.2).
fn after_authority(target: &[u8]) -> Option<&[u8]> {
    let begins = |scheme: &&[u8]| {
        target.get(..scheme.len()).is_some_and(|own| own.eq_ignore_ascii_case(scheme))
    };
    let rest = target.get([&b"http://"[..], b"https://"].into_iter().find(begins)?.len()..)?;
    match rest.iter().position(|byte| b"/?#".contains(byte)) {
        Some(slash) if rest.get(slash) == Some(&b'/') => rest.get(slash..),
        _ => Some(b"/"),
    }
}

/// The files that clients may fetch.
#[derive(Debug)]
pub(crate) enum Tree {
    /// Every file that this process can read.
    Everything,
    /// The files beneath a folder. An answer does not show whether any other file exists.
    Beneath(Root),
}

impl Tree {
    /// Opens the regular file at `path`, which is not decoded any further.
    ///
    /// # Errors
    /// 404 or 403 for a file that is not served, 503 where the system has no room.
    pub(crate) fn open(&self, path: &[u8]) -> Result<Opened, Refusal> {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        if names::reserved(OsStr::from_bytes(name)).is_some() {
            return Err(no_such_file()); // it is on its way
        }
        match self {
            Tree::Everything => open_anywhere(path),
            Tree::Beneath(root) => {
                let file = root.open_file(path).map_err(refusal)?;
                let found = file
                    .metadata()
                    .map_err(|error| no_such_file().because(error.raw_os_error()))?;
                let identity = Identity::of(&file, &found);
                Ok(Opened { file, identity })
            }
        }
    }

    /// Opens the regular file or the folder at `path`, which is not decoded any further.
    ///
    /// # Errors
    /// As for [`Tree::open`].
    pub(crate) fn find(&self, path: &[u8]) -> Result<Found, Refusal> {
        let dir = match self {
            Tree::Everything => {
                let path = as_path(path);
                // As for a file: a device is not opened.
                match fs::metadata(path).map_err(|error| unreadable(&error))?.is_dir() {
                    true => Some(Dir::open(path).map_err(|error| unreadable(&error))?),
                    false => None,
                }
            }
            Tree::Beneath(root) => match root.open_dir(path) {
                Ok(dir) => Some(dir),
                Err(Refused::NoRoom(error)) => return Err(unavailable(&error)),
                Err(Refused::NotServed(_)) => None,
            },
        };
        let Some(dir) = dir else { return self.open(path).map(Found::File) };
        match state_of(dir.as_fd()) {
            Ok(state) => Ok(Found::Folder(OpenedFolder { dir, state })),
            Err(error) if error.raw_os_error() == Some(libc::EXDEV) => {
                Err(Refusal::new(Status::NOT_FOUND, "the kernel's own files are not served"))
            }
            Err(error) => Err(no_such_file().because(error.raw_os_error())),
        }
    }

    /// Opens the folder at `path` for a listing.
    ///
    /// # Errors
    /// As for [`Tree::open`].
    pub(crate) fn open_folder(self: &Arc<Tree>, path: &[u8]) -> Result<Folder, Refusal> {
        let dir = match &**self {
            Tree::Everything => Dir::open(as_path(path)).map_err(|error| unreadable(&error))?,
            Tree::Beneath(root) => root.open_dir(path).map_err(refusal)?,
        };
        Ok(Folder { tree: self.clone(), path: path.to_vec(), dir })
    }
}

/// An open folder that a client may list.
#[derive(Debug)]
pub(crate) struct Folder {
    tree: Arc<Tree>,
    path: Vec<u8>,
    dir: Dir,
}

impl Folder {
    /// The folder's path, as the client named it.
    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// The folder itself.
    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Whether the folder above this one is not served.
    pub(crate) fn is_top(&self) -> bool {
        let top = match &*self.tree {
            Tree::Everything => fs::metadata("/").ok(),
            Tree::Beneath(root) => root.look(b"/"),
        };
        let same = |top: Metadata| {
            self.dir.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (top.dev(), top.ino()))
        };
        top.is_none_or(same)
    }

    /// The metadata of a name in the folder, with links followed, if a client may fetch it.
    pub(crate) fn look(&self, name: &OsStr) -> Option<Metadata> {
        if names::reserved(name).is_some() {
            return None;
        }
        let itself = self.dir.open_file(name, Access::Look).ok()?.metadata().ok()?;
        let found = if itself.is_symlink() { self.follow(name)? } else { itself };
        self.dir.may_read(name, found.is_dir()).then_some(found)
    }

    /// The metadata of a link's target, if the link may be followed.
    fn follow(&self, name: &OsStr) -> Option<Metadata> {
        let path = [&self.path, &b"/"[..], name.as_bytes()].concat();
        match &*self.tree {
            Tree::Everything => fs::metadata(as_path(&path)).ok(),
            Tree::Beneath(root) => root.look(&path),
        }
    }
}

fn refusal(refused: Refused) -> Refusal {
    match refused {
        Refused::NotServed(error) => no_such_file().because(error.raw_os_error()),
        Refused::NoRoom(error) => unavailable(&error),
    }
}

fn as_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

fn no_such_file() -> Refusal {
    Refusal::new(Status::NOT_FOUND, "no such file")
}

fn open_anywhere(path: &[u8]) -> Result<Opened, Refusal> {
    let path = as_path(path);
    let not_regular = Refusal::new(Status::NOT_FOUND, "not a regular file");
    // Checked before it is opened, since opening a device can have effects. Checked again
    // after that, since another file may have taken its place meanwhile.
    if !fs::metadata(path).map_err(|error| unreadable(&error))?.is_file() {
        return Err(not_regular);
    }
    let file = file::open_without_blocking(path).map_err(|error| unreadable(&error))?;
    match file.metadata() {
        Ok(found) if found.is_file() => {
            let identity = Identity::of(&file, &found);
            Ok(Opened { file, identity })
        }
        Ok(_) => Err(not_regular),
        Err(error) => Err(unreadable(&error)),
    }
}

/// The answer where a file cannot be opened.
fn unreadable(error: &io::Error) -> Refusal {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => Refusal::new(Status::FORBIDDEN, "permission denied"),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => unavailable(error),
        _ => no_such_file().because(error.raw_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(target: &str) -> Vec<u8> {
        path(target.as_bytes()).unwrap()
    }

    #[test]
    fn a_file_that_is_not_regular_is_not_found() {
        for target in ["/", "/dev/null", "/nonexistent", "/etc/passwd/x", "/dev/stdin/../.."] {
            assert_eq!(
                Tree::Everything.open(target.as_bytes()).unwrap_err().status.code(),
                404,
                "{target}"
            );
        }
    }

    #[test]
    fn a_client_that_takes_folders_gets_a_folder_and_still_each_file() {
        let find = |path: &str| Tree::Everything.find(path.as_bytes());
        assert!(matches!(find("/etc/passwd").unwrap(), Found::File(_)));
        let Found::Folder(folder) = find("/etc/.").unwrap() else { panic!("no folder") };
        assert_eq!(folder.state, state_of(Dir::open(Path::new("/etc")).unwrap().as_fd()).unwrap());
        for path in ["/dev/null", "/nonexistent", "/etc/passwd/", "/proc", "/sys/kernel"] {
            assert_eq!(find(path).unwrap_err().status.code(), 404, "{path}");
        }
    }

    #[test]
    fn a_path_is_decoded_once_and_ends_before_the_query() {
        assert_eq!(decoded("/a%20b/%C3%A4?x=%zz"), "/a b/ä".as_bytes());
        assert_eq!(decoded("a%3Fb?c"), b"a?b");
        assert_eq!(decoded("/%2541"), b"/%41");
        assert_eq!(decoded("/a+b"), b"/a+b");
    }

    #[test]
    fn a_broken_escape_and_a_nul_are_bad_requests() {
        for target in ["/%", "/%4", "/%zz", "/a%00b"] {
            assert_eq!(path(target.as_bytes()).unwrap_err().status.code(), 400, "{target}");
        }
    }

    #[test]
    fn a_reference_stays_on_its_host() {
        for (target, expected) in [
            ("/sub", "/sub"),
            ("/a/b%20c?x=/y", "/a/b%20c"),
            ("//host/sub", "/host/sub"),
            ("///host", "/host"),
            ("/%2F%2Fhost", "/%2F%2Fhost"),
            ("/\\host", "/%5Chost"),
            ("/x:y", "/x%3Ay"),
            ("http://host/sub", "/sub"),
            ("http://host//sub", "/sub"),
            ("/a b\"<\r\n", "/a%20b%22%3C%0D%0A"),
            ("/a/..", "/a/.."),
            ("a/sub", "sub"),
            ("javascript:x", "javascript%3Ax"),
        ] {
            assert_eq!(reference(target.as_bytes()).unwrap(), expected, "{target}");
        }
    }

    #[test]
    fn the_host_of_an_absolute_form_is_ignored() {
        assert_eq!(decoded("http://host:8080/a%20b?c"), b"/a b");
        assert_eq!(decoded("HTTP://host"), b"/");
        assert_eq!(decoded("https://host/a"), b"/a");
        assert_eq!(decoded("HttpS://host"), b"/");
        assert_eq!(decoded("http://host?x=/a"), b"/");
        assert_eq!(decoded("https:/a"), b"https:/a");
        assert_eq!(decoded("httpd/log"), b"httpd/log");
    }
}
