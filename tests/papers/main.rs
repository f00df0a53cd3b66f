//! Generates the man pages and the completions of three shells from the tables of options, and
//! compares them with the files in `share/`. `make papers` writes these files. They are in the
//! repository, so that an installation runs no program.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)] // this is how a test fails

mod bash;
mod fish;
mod pages;
mod roff;
mod zsh;

use ropewalk::app::options::{Opt, Program};
use std::path::Path;

/// The first words of every file.
const ORIGIN: &str = "Made from src/common/app/programs.rs by `make papers`; do not edit.";

/// One file under PREFIX/share.
struct Paper {
    /// Its path under PREFIX/share.
    path: String,
    /// All of its text.
    text: String,
}

/// Every file that PREFIX/share gets.
fn papers() -> Vec<Paper> {
    pages::ALL.iter().flat_map(of_program).collect()
}

fn of_program(page: &pages::Page) -> [Paper; 4] {
    let program = page.program;
    let name = installed(program);
    [
        Paper { path: format!("man/man1/{name}.1"), text: roff::render(page) },
        Paper { path: format!("bash-completion/completions/{name}"), text: bash::render(program) },
        Paper { path: format!("zsh/site-functions/_{name}"), text: zsh::render(program) },
        Paper {
            path: format!("fish/vendor_completions.d/{name}.fish"),
            text: fish::render(program),
        },
    ]
}

/// The name of a program after installation.
fn installed(program: &Program) -> String {
    format!("ropewalk-{}", program.name)
}

/// The command that starts a program after installation. A worker is in no folder of PATH.
fn called(program: &Program) -> String {
    match program.alone {
        Some(_) => program.name.to_string(),
        None => installed(program),
    }
}

/// What a shell can offer for a value.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// Files of this machine.
    File,
    /// Folders of this machine.
    Folder,
    /// Names of machines.
    Host,
    /// Users of this machine.
    User,
    /// These words.
    OneOf(Vec<&'static str>),
    /// Nothing: a number, or a name that only the other side knows.
    Free,
}

/// The kind of a value, by its name in the table. `None` for a new name, which needs a kind here.
fn kind_of(name: &'static str) -> Option<Kind> {
    Some(match name {
        "FILE" | "FILE.svg" | "path" | "ofile" => Kind::File,
        "DIR" | "directory" => Kind::Folder,
        "address" | "host" => Kind::Host,
        "NAME" => Kind::User,
        "COMMAND" => Kind::OneOf(vec!["ssh"]),
        // A file of another machine.
        "PATH" => Kind::Free,
        "ADDR" | "ADDR:PORT" | "A-B" | "N" | "PATTERN" | "PERCENT" | "RATE" | "SECONDS"
        | "SIZE" => Kind::Free,
        // A number needs no help, so only `auto` is offered.
        "N|auto" => Kind::OneOf(vec!["auto"]),
        "port" | "streams" | "file" | "block_size" => Kind::Free,
        _ if name.contains('|') => Kind::OneOf(name.split('|').collect()),
        _ => return None,
    })
}

/// The kind of an option's value; `None` if the option takes no value.
fn kind(option: &Opt) -> Option<Kind> {
    option.value.map(|name| kind_of(name).unwrap_or(Kind::Free))
}

/// The same for an argument of `program`, which its position identifies.
fn place(program: &Program, name: &'static str) -> Kind {
    match (program.name, name) {
        // A number needs no help, so only `auto` is offered.
        ("client", "streams") => Kind::OneOf(vec!["auto"]),
        _ => kind_of(name).unwrap_or(Kind::Free),
    }
}

/// The spellings of an option, such as `-b` and `--bind`.
fn spellings(option: &Opt) -> Vec<String> {
    let short = option.short.map(|letter| format!("-{letter}"));
    short.into_iter().chain([format!("--{}", option.long)]).collect()
}

/// Set by `make papers`: the test writes the files and does not compare them.
const RENEW: &str = "ROPEWALK_RENEW_PAPERS";

/// How many files there are beneath `folder`.
fn count(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
}

#[test]
fn share_holds_what_the_option_table_makes_and_nothing_else() {
    let share = Path::new(env!("CARGO_MANIFEST_DIR")).join("share");
    for paper in papers() {
        let path = share.join(&paper.path);
        if std::env::var_os(RENEW).is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &paper.text).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == paper.text,
            "share/{} is not what src/common/app/programs.rs and tests/papers/pages.rs say: \
             run `make papers` and commit what it writes",
            paper.path
        );
    }
    assert_eq!(count(&share), papers().len(), "share holds a file that no table makes");
}

#[test]
fn every_value_of_the_tables_has_a_kind() {
    for page in &pages::ALL {
        let places = page.program.positionals.iter().map(|positional| positional.name);
        let values = page.program.all_options().filter_map(|option| option.value);
        for name in places.chain(values) {
            assert!(kind_of(name).is_some(), "{name}: give it a kind in kind_of");
        }
    }
}

#[test]
fn every_option_is_in_every_paper() {
    for page in &pages::ALL {
        for paper in of_program(page) {
            for option in page.program.all_options() {
                let long = option.long;
                let dashed = long.replace('-', "\\-");
                let written =
                    [format!("--{long}"), format!("\\-\\-{dashed}"), format!("-l {long} ")];
                assert!(
                    written.iter().any(|form| paper.text.contains(form)),
                    "{}: {long}",
                    paper.path
                );
            }
        }
    }
}

#[test]
fn papers_are_plain_ascii() {
    for paper in papers() {
        let plain = paper.text.bytes().all(|b| b == b'\n' || b == b'\t' || (32..127).contains(&b));
        assert!(plain && paper.text.ends_with('\n'), "{}", paper.path);
    }
}
