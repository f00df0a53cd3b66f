//! Runs a client under recorder.c, and reads what the client and its worker did to their folder.

use crate::disk::{Change, Content, Naming, SECTOR};
use crate::history::{File, History, Step, Synced};
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

impl History {
    /// The present content of the folder, which is on the disk.
    pub(crate) fn of(folder: &Path) -> History {
        let mut history = History::default();
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            history.names.insert(name, history.files.len());
            let file = fs::File::open(entry.path()).unwrap();
            let inode = file.metadata().unwrap().ino();
            history.files.push(File { inode, content: read(&file) });
        }
        history
    }

    /// Runs `client`, which works in `folder`, and adds what it does. Demands that every change was
    /// recorded: otherwise the model would miss what the disk can lose.
    pub(crate) fn run(&mut self, client: &mut Command, folder: &Path, how: &Run) -> Outcome {
        let log = folder.with_extension("log");
        fs::write(&log, b"").unwrap();
        client.env("LD_PRELOAD", library().unwrap()).env("POWERCUT_LOG", &log);
        if let Some((program, calls)) = how.dies {
            client.env("POWERCUT_DIE", format!("{program}:{calls}"));
        }
        if how.no_sync {
            client.arg("--no-sync");
        }
        self.steps.push(Step::Begins(!how.no_sync));
        let outcome = run(client);
        self.add(&fs::read(&log).unwrap(), fs::metadata(folder).unwrap().ino());
        self.steps.push(Step::Ends(outcome.status.success()));
        self.is_what_is_there(folder);
        outcome
    }

    /// Adds the calls of a log that concern files of the folder.
    fn add(&mut self, log: &[u8], folder: u64) {
        let mut known: BTreeMap<u64, usize> =
            self.files.iter().enumerate().map(|(file, known)| (known.inode, file)).collect();
        let (mut names, _) = self.seen(self.steps.len());
        let mut rest = log;
        while let Some((head, behind)) = rest.split_first_chunk::<HEAD>() {
            let word = |at: usize| u32::from_ne_bytes(head[at..at + 4].try_into().unwrap());
            let long = |at: usize| u64::from_ne_bytes(head[at..at + 8].try_into().unwrap());
            let (inode, offset, length) = (long(8), long(24), long(32));
            let (first, behind) = behind.split_at(word(40) as usize);
            let (second, behind) = behind.split_at(word(44) as usize);
            let (data, behind) = behind.split_at(word(48) as usize);
            rest = behind;
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let file = known.get(&inode).copied();
            let here = long(16) == folder;
            let change = |change| file.map(|file| Step::Change(file, change));
            let step = match word(0) {
                1 if here => {
                    known.insert(inode, self.files.len());
                    self.files.push(File { inode, content: Content::default() });
                    Some(Step::Name(Naming::Add(text(first), self.files.len() - 1)))
                }
                2 => change(Change::Write(offset, data.to_vec())),
                3 => change(Change::Size(length)),
                4 => change(Change::Reserve(offset + length)),
                5 => change(Change::Punch(offset..offset + length)),
                6 if length == 1 => Some(Step::SyncBegins(word(4), Synced::All)),
                6 if inode == folder => Some(Step::SyncBegins(word(4), Synced::Folder)),
                6 => file.map(|file| Step::SyncBegins(word(4), Synced::File(file))),
                7 => Some(Step::SyncEnds(word(4), word(52) == 1)),
                8 if here => {
                    let file = names[&text(first)];
                    Some(Step::Name(Naming::Move(text(first), text(second), file)))
                }
                9 if here => Some(Step::Name(Naming::Remove(text(first)))),
                10 if here => Some(Step::Name(Naming::Add(text(second), names[&text(first)]))),
                _ => None,
            };
            if let Some(Step::Name(naming)) = &step {
                naming.apply(&mut names);
            }
            self.steps.extend(step);
        }
        assert!(rest.is_empty(), "the log ends within a record");
    }

    /// Demands that the steps lead to the present content of the folder.
    fn is_what_is_there(&self, folder: &Path) {
        let (names, files) = self.seen(self.steps.len());
        let there = History::of(folder);
        let known: Vec<&String> = names.keys().collect();
        assert_eq!(known, there.names.keys().collect::<Vec<_>>(), "names that were recorded");
        for (name, file) in &names {
            let (seen, there) = (&files[*file], &there.files[there.names[name]].content);
            assert!(
                seen.size == there.size && seen.bytes() == there.bytes(),
                "{name}: a call of a kind that is not recorded has changed it"
            );
        }
    }
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
            content.sectors.insert(number, Arc::new(sector));
        }
    }
    content
}
