//! Runs a program under recorder.c, and reads what it and its workers did to a folder.

use crate::disk::{Change, Content, Dress, Kind, Naming};
use crate::history::{File, History, Step, Synced};
use crate::sectors::SECTOR;
use crate::support::harness::{Outcome, run};
use ropewalk::sys::file::extents;
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

const SOURCE: &str = include_str!("recorder.c");

/// Bytes of a record before its names and data.
const HEAD: usize = 56;

/// The library; `None` if it cannot be built for these programs.
fn library() -> Option<PathBuf> {
    static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let at = |kind| folder.join(format!("{}-recorder.{kind}", std::process::id()));
        fs::write(at("c"), SOURCE).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-shared", "-fPIC", "-o"]).args([at("so"), at("c")]);
        let built = compiler.args(["-ldl", "-lpthread"]).output();
        fs::remove_file(at("c")).unwrap();
        if !built.ok()?.status.success() {
            return None;
        }
        // The library is one file for all runs of the tests. Programs that use an older one keep
        // it.
        let library = folder.join("recorder.so");
        fs::rename(at("so"), &library).unwrap();
        Some(library)
    };
    LIBRARY.get_or_init(build).clone()
}

/// Whether the calls of a dynamically linked program can be recorded here. If not, says so for
/// `test`.
pub(crate) fn can_record(test: &str) -> bool {
    let possible = library().is_some() && !cfg!(target_env = "musl");
    if !possible {
        eprintln!("{test}: skipped: cc makes no library that stands before these programs' calls");
    }
    possible
}

/// How a run goes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// The program that ends after so many of its calls, as if it were killed.
    pub(crate) dies: Option<(&'static str, u32)>,
    /// Whether the client gets `--no-sync`.
    pub(crate) no_sync: bool,
}

impl Run {
    /// Has `command`, a client or a server, and its workers write to the log what they do.
    pub(crate) fn watch(&self, command: &mut Command, log: &Path) {
        command.env("LD_PRELOAD", library().unwrap()).env("POWERCUT_LOG", log);
        if let Some((program, calls)) = self.dies {
            command.env("POWERCUT_DIE", format!("{program}:{calls}"));
        }
    }
}

impl History {
    /// The present content of the folder, which is on the disk.
    pub(crate) fn of(folder: &Path) -> History {
        let mut history = History::default();
        history.enter(folder, "");
        history
    }

    /// Adds what is in `folder`, which has this path.
    fn enter(&mut self, folder: &Path, path: &str) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = joined(path, &entry.file_name().into_string().unwrap());
            let found = entry.metadata().unwrap();
            let mtime = Some((found.mtime(), found.mtime_nsec()));
            let dress = Dress { mode: Some(found.mode()), mtime };
            let mut file = File { inode: found.ino(), dress, ..File::default() };
            if found.is_dir() {
                file.kind = Kind::Folder;
                self.enter(&entry.path(), &name);
            } else if found.is_symlink() {
                let text = fs::read_link(entry.path()).unwrap();
                file.kind = Kind::Link(text.into_os_string().into_encoded_bytes());
            } else {
                file.content = read(&fs::File::open(entry.path()).unwrap());
            }
            self.names.insert(name, self.files.len());
            self.files.push(file);
        }
    }

    /// Runs `client`, which works in `folder`, and adds what it does.
    pub(crate) fn run(&mut self, client: &mut Command, folder: &Path, how: &Run) -> Outcome {
        let mut outcome = None;
        self.record(folder, how, |log| {
            how.watch(client, log);
            if how.no_sync {
                client.arg("--no-sync");
            }
            outcome.insert(run(client)).status.success()
        });
        outcome.unwrap()
    }

    /// Adds what programs do to `folder` that `work` runs, with a log. `work` says whether they
    /// reported success. Demands that every change was recorded: otherwise the model would miss
    /// what the disk can lose.
    pub(crate) fn record(&mut self, folder: &Path, how: &Run, work: impl FnOnce(&Path) -> bool) {
        let log = folder.with_extension("log");
        fs::write(&log, b"").unwrap();
        self.steps.push(Step::Begins(!how.no_sync));
        let success = work(&log);
        self.add(&fs::read(&log).unwrap(), fs::metadata(folder).unwrap().ino());
        self.steps.push(Step::Ends(success));
        self.is_what_is_there(folder);
    }

    /// Adds the calls of a log that concern files of the folder.
    fn add(&mut self, log: &[u8], folder: u64) {
        let mut known: BTreeMap<u64, usize> =
            self.files.iter().enumerate().map(|(file, known)| (known.inode, file)).collect();
        let mut folders = BTreeMap::from([(folder, String::new())]);
        let (names, _) = self.seen(self.steps.len());
        for (name, file) in names {
            if self.files[file].kind == Kind::Folder {
                folders.insert(self.files[file].inode, name);
            }
        }
        let mut rest = log;
        while let Some((head, behind)) = rest.split_first_chunk::<HEAD>() {
            let word = |at: usize| u32::from_ne_bytes(head[at..at + 4].try_into().unwrap());
            let long = |at: usize| u64::from_ne_bytes(head[at..at + 8].try_into().unwrap());
            let (inode, offset, length) = (long(8), long(24), long(32));
            let (first, behind) = behind.split_at(word(40) as usize);
            let (second, behind) = behind.split_at(word(44) as usize);
            let (data, behind) = behind.split_at(word(48) as usize);
            rest = behind;
            // The path of a name, in a folder that is known.
            let here = folders.get(&long(16)).cloned();
            let path = |name: &[u8]| {
                let name = std::str::from_utf8(name).unwrap();
                Some(joined(here.as_ref()?, name))
            };
            let file = known.get(&inode).copied();
            let change = |change| file.map(|file| Step::Change(file, change));
            let dress = |dress| file.map(|file| Step::Dress(file, dress));
            let synced = |what| Some(Step::SyncBegins(word(4), what));
            let step = match word(0) {
                1 => path(first).map(|path| {
                    known.insert(inode, self.files.len());
                    let file = new_file(inode, offset as u32, data);
                    if file.kind == Kind::Folder {
                        folders.insert(inode, path.clone());
                    }
                    self.files.push(file);
                    Step::Name(Naming::Add(path, self.files.len() - 1))
                }),
                2 => change(Change::write(offset, data.to_vec())),
                3 => change(Change::Size(length)),
                4 => change(Change::Reserve(offset + length)),
                5 => change(Change::Punch(offset..offset + length)),
                6 if length == 1 => synced(Synced::All),
                6 => match folders.get(&inode) {
                    Some(path) => synced(Synced::Folder(path.clone())),
                    None if offset == 1 => file.and_then(|file| synced(Synced::Data(file))),
                    None => file.and_then(|file| synced(Synced::File(file))),
                },
                7 => Some(Step::SyncEnds(word(4), word(52) == 1)),
                8 => path(first)
                    .zip(path(second))
                    .map(|(old, new)| Step::Name(Naming::Move(old, new, file.unwrap()))),
                9 => path(first).map(|path| {
                    folders.remove(&inode);
                    Step::Name(Naming::Remove(path))
                }),
                10 => path(second).map(|path| Step::Name(Naming::Add(path, file.unwrap()))),
                11 => dress(Dress { mode: Some(offset as u32), mtime: None }),
                12 => dress(Dress { mode: None, mtime: Some((offset as i64, length as i64)) }),
                kind => panic!("a record of kind {kind}"),
            };
            self.steps.extend(step);
        }
        assert!(rest.is_empty(), "the log ends within a record");
    }

    /// Demands that the steps lead to the present content of the folder.
    fn is_what_is_there(&self, folder: &Path) {
        let (names, files) = self.seen(self.steps.len());
        let dress = self.seen_dress(self.steps.len());
        let there = History::of(folder);
        let known: Vec<&String> = names.keys().collect();
        assert_eq!(known, there.names.keys().collect::<Vec<_>>(), "names that were recorded");
        for (name, file) in &names {
            let found = &there.files[there.names[name]];
            let (seen, there) = (&files[*file], &found.content);
            assert!(
                seen.size == there.size
                    && seen.bytes() == there.bytes()
                    && self.files[*file].kind == found.kind,
                "{name}: a call of a kind that is not recorded has changed it"
            );
            let (seen, there) = (dress[*file], found.dress);
            // A folder's mtime changes with its names, and a file's with its bytes.
            let is_same = seen.mode == there.mode
                && (found.kind == Kind::Folder || seen.mtime.is_none_or(|_| seen == there));
            assert!(is_same, "{name}: {seen:?} was recorded, {there:?} is there");
        }
    }
}

/// What was created with this mode; the text of a link.
fn new_file(inode: u64, mode: u32, text: &[u8]) -> File {
    let kind = match mode & libc::S_IFMT {
        libc::S_IFDIR => Kind::Folder,
        libc::S_IFLNK => Kind::Link(text.to_vec()),
        _ => Kind::File,
    };
    let dress = Dress { mode: Some(mode), mtime: None };
    File { inode, kind, dress, ..File::default() }
}

/// The path of a name in a folder.
fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_string() } else { format!("{folder}/{name}") }
}

/// The content of a file.
fn read(file: &fs::File) -> Content {
    let size = file.metadata().unwrap().len();
    let mut content = Content { size, ..Content::default() };
    for extent in extents(file, 0..size).filter(|extent| !extent.hole) {
        let Range { start, end } = extent.range;
        let mut bytes = vec![0; (end - start) as usize];
        file.read_exact_at(&mut bytes, start).unwrap();
        for (number, part) in (start / SECTOR..).zip(bytes.chunks(SECTOR as usize)) {
            let mut sector = [0; SECTOR as usize];
            sector[..part.len()].copy_from_slice(part);
            content.sectors.set(number, Some(Arc::new(sector)));
        }
    }
    content
}
