//! A root without /dev, as in a bare container.

use crate::support::harness::{Scratch, Server, assert_same, content, run, wait_until};
use crate::support::namespace::apart;
use crate::support::system::reserve;
use std::fs;
use std::net::TcpStream;

#[test]
fn a_server_without_standard_descriptors_serves_in_a_root_without_dev() {
    let scratch = Scratch::on_disk("server-no-dev");
    let bytes = content(300_000);
    scratch.write("file", &bytes);
    for closed in [">&-", "<&- >&- 2>&-"] {
        let port = reserve(scratch.address(), 0).unwrap();
        let mut server = scratch.program("server");
        server.arg("--root").arg(scratch.folder()).arg("--bind");
        server.arg(scratch.address().to_string()).arg(port.address.port().to_string());
        let server = crate::support::harness::after(&format!("exec {closed}"), &server);
        let Some(mut server) = apart("-m", "mount -t tmpfs none /dev", &server) else { return };
        let mut server = server.spawn().unwrap();
        wait_until("a server that listens, or has ended", || {
            let ended = server.try_wait().unwrap();
            assert!(ended.is_none(), "{closed}: {ended:?}");
            TcpStream::connect(port.address).ok()
        });
        let output = scratch.path("out");
        run(&mut scratch.client(port.address, 2, "file", &output)).succeeded();
        assert_same(&fs::read(&output).unwrap(), &bytes, closed);
        fs::remove_file(output).unwrap();
        crate::support::system::signal(server.id(), libc::SIGTERM);
        assert_eq!(server.wait().unwrap().code(), Some(0), "{closed}");
    }
}

#[test]
fn programs_without_standard_descriptors_start_in_a_root_without_dev() {
    let scratch = Scratch::on_disk("no-dev");
    let server = Server::start(&scratch, &[]);
    let bytes = content(300_000);
    scratch.write("file", &bytes);
    let no_dev = "mount -t tmpfs none /dev";
    for closed in ["<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        let output = scratch.path("out");
        let client = scratch.client(server.address, 2, "file", &output);
        let client = crate::support::harness::after(&format!("exec {closed}"), &client);
        let Some(mut client) = apart("-m", no_dev, &client) else { return };
        assert_eq!(client.status().unwrap().code(), Some(0), "{closed}");
        assert_same(&fs::read(&output).unwrap(), &bytes, closed);
        fs::remove_file(output).unwrap();
        for name in ["server", "client", "sender", "receiver"] {
            let mut program = scratch.program(name);
            program.arg("--no-such-option");
            let program = crate::support::harness::after(&format!("exec {closed}"), &program);
            let mut program = apart("-m", no_dev, &program).unwrap();
            assert_eq!(program.status().unwrap().code(), Some(2), "{name} {closed}");
        }
    }
}
