//! Where a fetch leaves the file: a folder, or no name at all.

use crate::support::harness::{Scratch, Server, run};
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn a_folder_or_no_name_at_all_means_the_file_s_own_name() {
    let scratch = Scratch::new("own-name");
    let server = Server::start(&scratch, &[]);
    scratch.make_dir("data");
    scratch.write("data/a file", b"bytes");
    let home = scratch.make_dir("home");
    let folder = scratch.make_dir("home/folder");
    symlink("folder", scratch.path("home/link")).unwrap();
    scratch.write("home/a file", b"an older one, which is replaced");
    for (ofile, output) in [
        (None, home.join("a file")),
        (Some("folder"), folder.join("a file")),
        (Some("folder/"), folder.join("a file")),
        (Some("folder/."), folder.join("a file")),
        (Some("link"), folder.join("a file")),
    ] {
        let mut client = scratch.program("client");
        client.args([server.address.to_string().as_str(), "2", "data/a file"]).args(ofile);
        run(client.current_dir(&home)).succeeded();
        assert_eq!(fs::read(&output).unwrap(), b"bytes", "{ofile:?}");
        fs::remove_file(output).unwrap();
    }
    assert_eq!(Scratch::names(&folder).len(), 0);
    assert_eq!(Scratch::names(&home), ["folder", "link"]);
}
