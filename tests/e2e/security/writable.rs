//! `--writable`: nothing outside of its folder is written or learnt, by any spelling, link or race.
//! What stands under a name is replaced as a name, and never opened.

use crate::support::harness::{Scratch, Server, name, wait_until};
use crate::support::http::Http;
use crate::support::uploads::swap_for_link;
use crate::support::uploads::{Inbox, WRITABLE, answer, begin, inbox, put, spellings, state};
use crate::support::user::{NOBODY, can_be_tried};
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

#[test]
fn no_spelling_writes_outside_of_the_folder() {
    let inbox = inbox("writable-spellings");
    let before = state(inbox.scratch.folder(), &inbox.folder);
    let links: Vec<_> = inbox.names();
    let mut written = 0;
    let all = spellings(&inbox.scratch);
    assert!(all.len() > 300);
    for target in all {
        // A malformed request ends its connection.
        let reply = inbox.put(&target, &[], b"");
        let shown = target.escape_ascii();
        match reply.status {
            201 | 204 => written += 1,
            400 | 403 | 409 => assert!(!reply.error().is_empty(), "{shown}"),
            status => panic!("{shown}: {status}: {reply:?}"),
        }
        assert!(!Path::new("/etc/new").exists() && !Path::new("/dev/shm/new").exists());
    }
    assert_eq!(state(inbox.scratch.folder(), &inbox.folder), before);
    // Those that are names in the folder, such as /in/new, /way/file and /in/sub/../there.
    assert!(written >= 8, "{written}");
    // The links are still links, but those whose own name was written.
    assert!(links.iter().all(|name| inbox.names().contains(name)));
    assert!(fs::symlink_metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[test]
fn what_is_outside_of_the_folder_gets_the_same_answer_whether_it_exists_or_not() {
    let inbox = inbox("writable-hidden");
    let closed = inbox.scratch.make_dir("root/closed");
    fs::set_permissions(closed, Permissions::from_mode(0o000)).unwrap();
    let shown = |target: &str| {
        // The body is empty, so the connection stays.
        let reply = inbox.put(target, &["If-None-Match: *"], b"");
        let lines = reply.head.lines().filter(|line| !line.starts_with("Date:"));
        (reply.status, lines.map(str::to_string).collect::<Vec<_>>(), reply.body.clone())
    };
    let expected = shown("/new");
    assert_eq!(expected.0, 403);
    for target in [
        "/file",
        "/other/file",
        "/none/new",
        "/file/new",
        "/../secret/file",
        "/../secret/none",
        "/../none/none",
        "/etc/passwd",
        "/etc/none",
        "/closed/new",
        "/in/out/file",
        "/in/out/none",
        "/in/out/none/none",
        "/in/absolute/file",
        "/in/slash/etc/passwd",
        "/in/other/file",
        "/in/other/none",
        "/in/up/file",
        "/in/../file/new",
        "/in/../none/new",
        "/in/magic/root/file",
        "/in/fds/0",
    ] {
        assert_eq!(shown(target), expected, "{target}");
    }
}

#[test]
fn a_link_is_replaced_and_its_target_is_untouched() {
    let inbox = inbox("writable-link");
    for link in ["out", "absolute", "slash", "loop", "up"] {
        // Through the link nothing is written; its own name is a name like any other.
        let reply = inbox.put(format!("/in/{link}"), &[], b"new");
        assert_eq!(reply.status, 204, "{link}: {reply:?}");
        assert!(fs::symlink_metadata(inbox.folder.join(link)).unwrap().is_file());
        assert_eq!(inbox.read(link), b"new");
    }
    symlink("/etc/passwd", inbox.folder.join("target")).unwrap();
    let before = fs::read("/etc/passwd").unwrap();
    let is_link = || fs::symlink_metadata(inbox.folder.join("target")).unwrap().is_symlink();
    for condition in ["If-None-Match: *", "If-Match: \"x\""] {
        assert_eq!(inbox.put("/in/target", &[condition], b"new").status, 412);
        assert!(is_link());
    }
    assert_eq!(inbox.put("/in/target", &[], b"new").status, 204);
    assert!(!is_link() && fs::read("/etc/passwd").unwrap() == before);
    assert_eq!(fs::read(inbox.scratch.path("secret/file")).unwrap(), b"secret");
}

#[test]
fn of_a_file_with_several_names_the_others_keep_their_bytes() {
    let inbox = inbox("writable-names");
    let (secret, own) = (inbox.scratch.path("secret/file"), inbox.folder.join("own"));
    fs::set_permissions(&secret, Permissions::from_mode(0o604)).unwrap();
    fs::hard_link(&secret, &own).unwrap();
    assert_eq!(inbox.put("/in/own", &[], b"new").status, 204);
    assert_eq!(fs::read(&secret).unwrap(), b"secret");
    assert_eq!(fs::read(&own).unwrap(), b"new");
    assert_eq!(fs::metadata(&own).unwrap().mode() & 0o7777, 0o604);
}

#[test]
fn fifos_sockets_devices_and_folders_stay_and_are_not_opened() {
    let inbox = inbox("writable-special");
    let path = |name: &str| inbox.folder.join(name);
    let make =
        |command: &[&str]| Command::new(command[0]).args(&command[1..]).status().unwrap().success();
    assert!(make(&["mkfifo", path("fifo").to_str().unwrap()]));
    let _socket = UnixListener::bind(path("socket")).unwrap();
    let mut names = vec!["fifo", "socket", "sub"];
    if make(&["mknod", path("device").to_str().unwrap(), "c", "1", "7"]) {
        names.push("device"); // /dev/full: every write to it fails
    } else {
        eprintln!("not tried: making devices needs root");
    }
    for name in names {
        let before = fs::symlink_metadata(path(name)).unwrap();
        let reply = inbox.put(format!("/in/{name}"), &[], b"new");
        assert_eq!(reply.status, 409, "{name}: {reply:?}");
        assert!(reply.error().ends_with(" has this name"), "{reply:?}");
        let after = fs::symlink_metadata(path(name)).unwrap();
        assert_eq!((after.ino(), after.file_type()), (before.ino(), before.file_type()));
    }
}

#[test]
fn a_folder_that_takes_the_name_meanwhile_is_not_replaced() {
    let inbox = inbox("writable-late-folder");
    for special in [false, true] {
        let mut http = inbox.connect();
        begin(&mut http, "/in/late", &[], 3);
        let path = inbox.folder.join("late");
        match special {
            false => fs::create_dir(&path).unwrap(),
            true => assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()),
        }
        http.send("new");
        assert_eq!(answer(&mut http).status, 409);
        assert!(!fs::symlink_metadata(&path).unwrap().is_file());
        match special {
            false => fs::remove_dir(&path).unwrap(),
            true => fs::remove_file(&path).unwrap(),
        }
    }
    assert!(!inbox.names().iter().any(|name| name.to_str().unwrap().starts_with(".ropewalk")));
}

/// Sends files to `target` while `swap` runs all the time. The answer is how many arrived.
fn put_while(inbox: &Inbox, target: &str, swap: impl Fn(&Path) + Sync) -> usize {
    let put = |_: &u32| {
        let reply = inbox.put(target, &[], b"");
        match reply.status {
            201 | 204 => true,
            400..500 => false,
            status => panic!("{status}: {reply:?}"),
        }
    };
    inbox.while_swapped(swap, || (0..1500).filter(put).count())
}

#[test]
fn a_folder_that_is_swapped_for_a_link_all_the_time_never_leads_outside() {
    for target in ["../other", "../../secret", "/dev/shm"] {
        let inbox = inbox("writable-swapped-folder");
        let before = state(inbox.scratch.folder(), &inbox.folder);
        let swap = |folder: &Path| swap_for_link(folder, target);
        let arrived = put_while(&inbox, "/in/sub/deep/../new", swap);
        assert!(arrived > 0);
        assert_eq!(state(inbox.scratch.folder(), &inbox.folder), before, "{target}");
        assert!(!Path::new("/dev/shm/new").exists());
    }
}

#[test]
fn a_name_that_is_swapped_for_a_link_all_the_time_is_never_followed() {
    let inbox = inbox("writable-swapped-name");
    let before = state(inbox.scratch.folder(), &inbox.folder);
    let arrived = put_while(&inbox, "/in/name", |folder| {
        for target in ["../file", "../../secret/file", "../other/new"] {
            symlink(target, folder.join("next")).unwrap();
            fs::rename(folder.join("next"), folder.join("name")).unwrap();
        }
    });
    assert!(arrived > 0);
    assert_eq!(state(inbox.scratch.folder(), &inbox.folder), before);
}

#[test]
fn a_folder_that_is_moved_out_while_a_file_comes_keeps_the_file_and_no_other_gets_it() {
    let inbox = inbox("writable-moved");
    let mut http = inbox.connect();
    begin(&mut http, "/in/sub/new", &[], 3);
    fs::rename(inbox.folder.join("sub"), inbox.scratch.path("moved")).unwrap();
    symlink("../other", inbox.folder.join("sub")).unwrap();
    http.send("new");
    assert_eq!(answer(&mut http).status, 201);
    // The file is in the folder that it was sent to, wherever its owner has moved that.
    assert_eq!(fs::read(inbox.scratch.path("moved/new")).unwrap(), b"new");
    assert!(!inbox.scratch.path("root/other/new").exists());
    // For the next file, that folder is outside.
    assert_eq!(inbox.put("/in/sub/new", &[], b"newer").status, 403);
}

#[test]
fn names_of_files_on_their_way_cannot_be_sent() {
    let inbox = inbox("writable-reserved");
    let digits = "0123456789abcdef0123456789abcdef";
    for name in [
        format!(".ropewalk-{digits}"),
        format!(".ropewalk-{digits}.journal"),
        "x.part".to_string(),
        "x.part.journal".to_string(),
        "%2eropewalk-".to_string() + digits,
    ] {
        let reply = inbox.put(format!("/in/{name}"), &[], b"new");
        assert_eq!(reply.status, 403, "{name}");
        assert!(reply.error().contains("the server needs names like this"), "{reply:?}");
    }
    for name in [format!(".ropewalk-{digits}0"), "x.parts".to_string(), ".ropewalk-".to_string()] {
        assert_eq!(inbox.put(format!("/in/{name}"), &[], b"new").status, 201, "{name}");
    }
}

#[test]
fn without_the_password_nothing_is_written_or_learnt() {
    let inbox = Inbox::with("writable-auth", |scratch| {
        let users = scratch.write("users", b"ann:sesame\n");
        fs::set_permissions(users, Permissions::from_mode(0o600)).unwrap();
        let mut command = scratch.program("server");
        command.args(WRITABLE).args(["--auth", "users", "--max-upload", "1M"]);
        command
    });
    fs::write(inbox.folder.join("there"), b"old").unwrap();
    let mut seen = Vec::new();
    for target in ["/in/there", "/in/new", "/in/none/new", "/none", "/../x", "/in/%zz"] {
        for fields in ["Content-Length: 3", "Content-Length: 99999999999", "Content-Range: x"] {
            let mut http = inbox.connect();
            http.send(format!("PUT {target} HTTP/1.1\r\nExpect: 100-continue\r\n{fields}\r\n\r\n"));
            let reply = answer(&mut http);
            assert_eq!((reply.status, reply.error()), (401, "a password is needed"), "{target}");
            let nonce = reply.field("WWW-Authenticate").split('"').nth(3).unwrap().to_string();
            let lines = reply.head.replace(&nonce, "");
            let lines = lines.lines().filter(|l| !l.starts_with("Date") && !l.contains("close"));
            seen.push(lines.collect::<String>());
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!((inbox.names(), inbox.read("there")), (vec!["there".into()], b"old".to_vec()));
}

#[test]
fn another_site_s_page_gets_no_permission_to_send_files() {
    let inbox = inbox("writable-foreign");
    let fields = ["Origin: http://evil.example", "Access-Control-Request-Method: PUT"];
    let reply = inbox.connect().ask("OPTIONS", "/in/new", &fields);
    assert_eq!(reply.status, 405);
    assert!(!reply.head.to_lowercase().contains("access-control"), "{reply:?}");
    // What a form of another page can send is no upload.
    let form = "POST /in/new HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x\r\n\
                Content-Length: 3\r\n\r\n--x";
    assert_eq!(crate::support::http::reply(&inbox.server, form).0.status, 400);
    assert!(!inbox.folder.join("new").exists());
}

#[test]
fn a_server_that_stopped_being_root_writes_as_its_user_and_where_that_may() {
    if !can_be_tried() {
        return;
    }
    let scratch = Scratch::new("writable-user");
    let folder = scratch.make_dir("root");
    let (open, closed) = (scratch.make_dir("root/open"), scratch.make_dir("root/closed"));
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o755)).unwrap();
    let options = [
        "--root",
        "root",
        "--writable",
        "root",
        "--writable-by-anyone",
        "--user",
        NOBODY.0,
        "--index",
        "--keep-free",
        "0",
    ];
    let server = Server::start(&scratch, &options);
    let mut http = Http::connect(server.address);
    assert_eq!(put(&mut http, "/open/file", &[], b"new").status, 201);
    assert_eq!(fs::metadata(open.join("file")).unwrap().uid(), NOBODY.1);
    let refused = put(&mut http, "/closed/file", &[], b"");
    assert_eq!((refused.status, refused.error()), (403, "the server may not write there"));
    // A sticky folder: the file of another user cannot be replaced.
    fs::set_permissions(&open, Permissions::from_mode(0o1777)).unwrap();
    fs::write(open.join("own"), b"old").unwrap();
    assert_eq!(put(&mut http, "/open/own", &[], b"new").status, 403);
    assert_eq!(fs::read(open.join("own")).unwrap(), b"old");
    assert_eq!(Scratch::names(&open), ["file", "own"]);
    let page = |target: &str| {
        let mut http = Http::connect(server.address);
        http.ask("GET", target, &["Accept: text/html"]).text().contains("id=\"upload\"")
    };
    assert!(page("/open/") && !page("/closed/") && !page("/"));
    drop(folder);
}

#[test]
fn a_hundred_clients_that_come_and_go_leave_nothing() {
    let inbox = inbox("writable-crowd");
    let mut clients: Vec<Http> = (0..100).map(|_| inbox.connect()).collect();
    for (at, http) in clients.iter_mut().enumerate() {
        begin(http, &format!("/in/{}", at % 7), &[], 1 << 20);
        http.send([0; 1000]);
    }
    drop(clients);
    let is_left = |path: &std::ffi::OsString| path.to_str().unwrap().starts_with(".ropewalk-");
    wait_until("nothing is left", || (!inbox.names().iter().any(is_left)).then_some(()));
    assert!(!inbox.folder.join("0").exists());
    assert_eq!(inbox.put(name(b"/in/0").as_encoded_bytes(), &[], b"x").status, 201);
}
