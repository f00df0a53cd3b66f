//! The histories: folders and files that are fetched, pushed and uploaded, over nothing and over
//! older ones, to the end or killed on the way.

use super::explore::{Explorer, before};
use super::site::{OUT, Site, Way};
use crate::histories::checkpoints;
use crate::history::History;
use crate::recorder::{Run, can_record};
use crate::support::harness::{content, sparse};
use crate::testing::{Random, seed};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Bytes of a file that has a journal.
const LARGE: usize = (1 << 20) + (512 << 10) + 77;

/// So slow that the large file has a checkpoint.
const SLOW: &[&str] = &["--limit-rate", "450K"];

/// Makes a file, and the folders on the way to it.
fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Small files in three folders, a large one, an empty one, links and holes.
fn fill(top: &Path) {
    for number in 0..12 {
        write(&top.join(format!("d{}/f{number}", number % 3)), &content(300 + 700 * number));
    }
    write(&top.join("d1/large"), &content(LARGE));
    write(&top.join("d1/empty"), b"");
    fs::set_permissions(top.join("d1/f1"), Permissions::from_mode(0o640)).unwrap();
    fs::create_dir(top.join("d2/none")).unwrap();
    symlink("../d1/f4", top.join("d2/link")).unwrap();
    sparse(&top.join("d0/holes"), 200_000, &[(70_000, 5000)]);
}

/// Gives the folder an older state: files of other contents and types, and files that will go.
fn fill_older(top: &Path) {
    fill(top);
    for number in (0..12).step_by(2) {
        let path = top.join(format!("d{}/f{number}", number % 3));
        fs::write(&path, content(299 + 700 * number)).unwrap();
        set_time(&path, 1_000_000);
    }
    let mut large = content(LARGE);
    large[LARGE / 2] ^= 1;
    fs::write(top.join("d1/large"), large).unwrap();
    set_time(&top.join("d1/large"), 1_000_000);
    fs::remove_file(top.join("d2/link")).unwrap();
    write(&top.join("d2/link"), b"a file");
    fs::remove_file(top.join("d0/f3")).unwrap();
    symlink("f6", top.join("d0/f3")).unwrap();
    fs::remove_file(top.join("d1/f1")).unwrap();
    fs::create_dir(top.join("d1/f1")).unwrap();
    fs::remove_dir(top.join("d2/none")).unwrap();
    write(&top.join("d2/none"), b"a file");
    write(&top.join("gone/deep/file"), b"gone");
    write(&top.join("d0/gone"), b"gone");
}

fn set_time(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// A test's site and recorded folder.
struct Story {
    test: &'static str,
    site: Site,
    folder: PathBuf,
    seed: u64,
    random: Random,
}

/// A run to the end, with syncs.
fn whole() -> Run {
    Run::default()
}

impl Story {
    /// `None` where nothing can be recorded. `fill` makes the source, and `older` what is there.
    fn new(
        test: &'static str,
        way: Way,
        fill: impl Fn(&Path),
        older: Option<&dyn Fn(&Path)>,
    ) -> Option<Story> {
        if !can_record(test) {
            return None;
        }
        let site = Site::new(test, way);
        fill(&site.there());
        let folder = site.scratch.make_dir("in");
        if let Some(older) = older {
            older(&folder.join(OUT));
        }
        let seed = seed();
        Some(Story { test, site, folder, seed, random: Random::from_seed(seed) })
    }

    /// A run in which a program dies after a random number of calls.
    fn dies(&mut self, program: &'static str, most: usize) -> Run {
        Run { dies: Some((program, 1 + self.random.below(most) as u32)), no_sync: false }
    }

    /// Records the runs, and tries the states that they leave.
    #[track_caller]
    fn explore(&self, runs: &[(Run, &[&str])], options: &[&str]) {
        let old = before(&self.folder);
        let mut history = History::of(&self.folder);
        for (run, more) in runs {
            let options = [options, more].concat();
            self.site.run(&mut history, &self.folder, run, &options);
        }
        // A slow run of everything has made something durable.
        if runs.len() == 1 && runs[0].1 == SLOW {
            assert!(checkpoints(&history) > 0, "{}", self.test);
        }
        let Story { test, site, seed, .. } = self;
        let history = &history;
        Explorer { test, site, history, old, options, seed: *seed }.explore();
    }
}

fn unsynced(run: Run) -> Run {
    Run { no_sync: true, ..run }
}

/// What makes a folder like the source, whatever is there.
const DELETE: &[&str] = &["--delete", "--max-delete", "1000"];

#[test]
fn a_folder_that_is_fetched_is_complete_or_goes_on() {
    let Some(story) = Story::new("folder-fetched", Way::Fetch, fill, None) else { return };
    story.explore(&[(whole(), SLOW)], &[]);
}

#[test]
fn a_folder_fetched_without_sync_has_no_wrong_file_that_counts_as_complete() {
    let Some(story) = Story::new("folder-no-sync", Way::Fetch, fill, None) else { return };
    story.explore(&[(unsynced(whole()), &[])], &[]);
}

#[test]
fn a_folder_over_an_older_one_has_old_or_new_files() {
    let Some(mut story) = Story::new("folder-update", Way::Fetch, fill, Some(&fill_older)) else {
        return;
    };
    let killed = story.dies("receiver", 100);
    story.explore(&[(killed, &[]), (whole(), &[])], DELETE);
}

#[test]
fn a_folder_over_an_older_one_without_sync_has_no_wrong_file_that_counts_as_complete() {
    let Some(mut story) = Story::new("folder-update-no-sync", Way::Fetch, fill, Some(&fill_older))
    else {
        return;
    };
    let killed = unsynced(story.dies("receiver", 100));
    story.explore(&[(killed, &[]), (unsynced(whole()), &[])], DELETE);
}

#[test]
fn a_run_with_sync_makes_durable_what_one_without_has_left() {
    let Some(mut story) = Story::new("folder-mixed", Way::Fetch, fill, None) else { return };
    let killed = unsynced(story.dies("receiver", 100));
    story.explore(&[(killed, &[]), (whole(), &[])], &[]);
}

#[test]
fn a_folder_that_is_killed_twice_goes_on() {
    let Some(mut story) = Story::new("folder-killed", Way::Fetch, fill, None) else { return };
    let runs = [(story.dies("receiver", 60), SLOW), (story.dies("receiver", 60), SLOW)];
    let [first, second] = runs;
    story.explore(&[first, second, (whole(), SLOW)], &[]);
}

#[test]
fn a_folder_that_is_pushed_is_complete_or_goes_on() {
    let Some(story) = Story::new("push-folder", Way::Push, fill, None) else { return };
    story.explore(&[(whole(), SLOW)], &[]);
}

#[test]
fn a_folder_that_is_pushed_over_an_older_one_has_old_or_new_files() {
    let Some(mut story) = Story::new("push-update", Way::Push, fill, Some(&fill_older)) else {
        return;
    };
    let killed = story.dies("receiver", 100);
    story.explore(&[(killed, &[]), (whole(), &[])], DELETE);
}

#[test]
fn a_folder_that_is_pushed_without_sync_has_no_wrong_file_that_counts_as_complete() {
    let Some(story) = Story::new("push-no-sync", Way::Push, fill, None) else { return };
    story.explore(&[(unsynced(whole()), &[])], &[]);
}

fn large(path: &Path) {
    write(path, &content(LARGE));
}

fn other(path: &Path) {
    write(path, &content(LARGE / 2));
}

#[test]
fn a_file_that_is_pushed_is_the_old_or_the_new_one() {
    for program in ["receiver", "server"] {
        let Some(mut story) = Story::new("push-file", Way::Push, large, Some(&other)) else {
            return;
        };
        let killed = story.dies(program, 12);
        story.explore(&[(killed, SLOW), (whole(), SLOW)], &[]);
    }
}

#[test]
fn a_file_that_is_uploaded_by_put_is_the_old_or_the_new_one() {
    for older in [None, Some(&other as &dyn Fn(&Path))] {
        let Some(mut story) = Story::new("put", Way::Put, other, older) else { return };
        let killed = story.dies("server", 6);
        story.explore(&[(killed, &[]), (whole(), &[])], &[]);
    }
}
