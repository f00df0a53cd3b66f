//! Names with several addresses of which one is silent, and link-local addresses.

use crate::support::harness::{Running, Scratch, Server, assert_same, content, run};
use crate::support::namespace::apart;
use crate::support::socket::accept;
use crate::support::system::fill_backlog;
use std::fs;
use std::io::Read;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A name with two addresses: `port` at ::1, where connections wait for ever, and the test's own
/// address.
struct Named {
    hosts: String,
    _silent: (TcpListener, Vec<TcpStream>),
}

const NAME: &str = "two.ropewalk.test";

fn named(scratch: &Scratch, port: u16) -> Option<Named> {
    let silent = TcpListener::bind((Ipv6Addr::LOCALHOST, port));
    let Ok(silent) = silent.inspect_err(|error| eprintln!("not tried: no IPv6: {error}")) else {
        return None;
    };
    let waiting = fill_backlog(&silent);
    let text = format!("::1 {NAME}\n{} {NAME}\n", scratch.address());
    let hosts = scratch.write("hosts", text.as_bytes());
    let hosts = format!("mount --bind '{}' /etc/hosts", hosts.display());
    Some(Named { hosts, _silent: (silent, waiting) })
}

#[test]
fn a_silent_ipv6_address_does_not_keep_a_client_from_ipv4() {
    let scratch = Scratch::new("silent-ipv6");
    let server = Server::start(&scratch, &[]);
    let bytes = content(300_000);
    scratch.write("file", &bytes);
    let Some(named) = named(&scratch, server.address.port()) else { return };
    for more in [&[][..], &["--single-port"]] {
        let output = scratch.path("out");
        let address = format!("{NAME}:{}", server.address.port());
        let mut client = scratch.client(address, 2, "file", &output);
        client.args(["--connect-timeout", "60"]).args(more);
        let Some(mut client) = apart("-m", &named.hosts, &client) else { return };
        let begun = Instant::now();
        run(&mut client).succeeded();
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        assert_same(&fs::read(&output).unwrap(), &bytes, "the file");
        fs::remove_file(output).unwrap();
    }
}

#[test]
fn a_silent_ipv6_address_does_not_keep_a_receiver_from_ipv4() {
    let scratch = Scratch::new("silent-ipv6-receiver");
    let listener = TcpListener::bind((scratch.address(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let Some(named) = named(&scratch, port) else { return };
    let mut receiver = scratch.program("receiver");
    receiver.args([NAME, &port.to_string(), "1"]).arg(scratch.folder());
    let Some(mut receiver) = apart("-m", &named.hosts, &receiver) else { return };
    let begun = Instant::now();
    let receiver = Running::start(&mut receiver);
    let mut stream = accept(&listener);
    // A receiver gives up an address after 10 s.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    // Closing before the number is read would be a reset, and not the end of the block.
    stream.read_exact(&mut [0]).unwrap();
    drop(stream);
    receiver.finish().succeeded();
}

/// The first machine of a link, at fe80::1%here.
const FIRST: &str = "ip link add here type veth peer name there && ip link set here up && \
     ip addr add fe80::1/64 dev here nodad";

/// Takes the other end of the link from the network of process PID, at fe80::2%there.
const SECOND: &str = "nsenter --net=/proc/PID/ns/net ip link set there netns $$ && \
     ip addr add fe80::2/64 dev there nodad && ip link set there up";

#[test]
fn a_link_local_address_works_with_the_name_of_its_link() {
    let scratch = Scratch::new("link");
    let bytes = content(300_000);
    scratch.write("file", &bytes);
    let mut server = scratch.program("server");
    server.args(["-q", "--bind", "fe80::1%here", "0"]);
    let Some(mut server) = apart("-n", FIRST, &server) else { return };
    let mut server = Running::start(server.current_dir(scratch.folder()));
    let line = server.next_line();
    let address: SocketAddr = line["listening on ".len()..].trim_end().parse().unwrap();
    let port = address.port();
    // The client's machine has another name and another number for the link.
    let script = format!(
        "{}; number=$(cat /sys/class/net/there/ifindex); shift; \
         for zone in there $number; do \
         \"$0\" \"[fe80::1%$zone]:{port}\" \"$@\" && \
         \"$0\" --single-port \"[fe80::1%$zone]:{port}\" \"$@\" || exit; done; \
         exec \"$0\" \"[fe80::1]:{port}\" \"$@\"",
        SECOND.replace("PID", &server.pid().to_string())
    );
    let client = scratch.client("", 2, "file", scratch.path("out"));
    let mut shell = Command::new("unshare");
    shell.args(["-n", "-m", "sh", "-c", &format!("mount -t sysfs none /sys; {script}")]);
    shell.arg(client.get_program()).args(client.get_args()).stdin(Stdio::null());
    shell.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let outcome = run(&mut shell);
    assert_eq!(outcome.out.lines().count(), 4, "{outcome:?}");
    let hint = "Invalid argument; a link-local address needs its interface: fe80::1%";
    assert!(outcome.err.contains(hint), "{outcome:?}");
    assert_eq!(outcome.status.code(), Some(3), "{outcome:?}");
    assert_same(&fs::read(scratch.path("out")).unwrap(), &bytes, "the file");
}

#[test]
fn an_address_without_its_interface_is_refused_with_a_hint() {
    let scratch = Scratch::new("no-zone");
    let hint = "Invalid argument; a link-local address needs its interface: fe80::1%eth0";
    let mut server = scratch.program("server");
    run(server.args(["-q", "--bind", "fe80::1", "0"])).failed(1, "server", hint);
    let mut server = scratch.program("server");
    server.args(["-q", "--metrics", "[fe80::1]:0", "0"]);
    run(&mut server).failed(1, "server", hint);
    let mut receiver = scratch.program("receiver");
    receiver.args(["fe80::1", "9", "1"]).arg(scratch.folder());
    run(&mut receiver).failed(3, "receiver", hint);
    let mut client = scratch.client("[fe80::1]:9", 1, "file", scratch.path("out"));
    run(&mut client).failed(3, "client", hint);
}
