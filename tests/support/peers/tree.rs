//! A client that fetches a tree by hand: it asks for pages of entries and for ranges of files,
//! and demands that each answer is right.

use crate::support::harness::Server;
use crate::support::http::{Reply, reply};
use crate::support::peers::sink::block;
use crate::support::socket::connect;
use ropewalk::codec::entry::{EntryType, Page};
use ropewalk::codec::http::Headers;
use ropewalk::codec::message::offer::{FolderState, Offer, TreeOffer};
use ropewalk::codec::wire::{Header, Hello, MAX_ROOM, PageEnd, RefusalCode, Request};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};

/// The wish for a tree, as a request has it.
pub(crate) const TREE: &str = ",\"tree\":true";

/// What a test needs of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) is_folder: bool,
    pub(crate) size: u64,
    pub(crate) identity: [u8; 16],
}

/// Sends a POST of protocol 2 with these further members.
#[track_caller]
pub(crate) fn post(server: &Server, path: &str, streams: usize, more: &str) -> Reply {
    let body = format!("{{\"threads\":{streams},\"protocol\":2{more}}}");
    let fields = format!("Connection: close\r\nContent-Length: {}", body.len());
    reply(server, format!("POST {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n{body}")).0
}

/// A session of a tree.
pub(crate) struct Session {
    pub(crate) sender: SocketAddr,
    pub(crate) token: [u8; 16],
    pub(crate) folder: FolderState,
    /// How many streams the server grants, if the request left that to it.
    pub(crate) granted: Option<u8>,
}

/// Asks for a folder, and demands an offer.
#[track_caller]
pub(crate) fn ask(server: &Server, path: &str, streams: usize) -> Session {
    ask_with(server, path, streams, TREE)
}

/// The same with these members of the request.
#[track_caller]
pub(crate) fn ask_with(server: &Server, path: &str, streams: usize, more: &str) -> Session {
    let reply = post(server, path, streams, more);
    assert_eq!((reply.status, reply.find("etag")), (200, None), "{reply:?}");
    let Ok(Offer::Tree(offer)) = Offer::from_reply(&Headers::new(), &reply.body) else {
        panic!("{reply:?}")
    };
    let TreeOffer { port, token, granted, folder } = offer;
    Session { sender: SocketAddr::new(server.address.ip(), port), token, folder, granted }
}

impl Session {
    /// Opens a stream at the sender's port.
    pub(crate) fn open(&self) -> Stream {
        self.open_at(self.sender)
    }

    /// The same at another port.
    pub(crate) fn open_at(&self, address: SocketAddr) -> Stream {
        let mut stream = connect(address);
        let max_block = 128 << 10;
        let hello = Hello { token: self.token, max_block, unchecked: false, from_source: false };
        stream.write_all(&hello.encode()).unwrap();
        Stream(stream)
    }
}

/// A stream of a session.
pub(crate) struct Stream(pub(crate) TcpStream);

impl Stream {
    pub(crate) fn ask(&mut self, request: &Request<'_>) {
        self.0.write_all(&request.encode()).unwrap();
    }

    /// The next block but `wait`.
    fn block(&mut self) -> (Header, Vec<u8>) {
        loop {
            match block(&mut self.0) {
                (Header::Wait, _) => {}
                other => return other,
            }
        }
    }

    /// All entries of a folder, whose identity has to be this one in each page.
    #[track_caller]
    pub(crate) fn list(&mut self, name: &str, identity: [u8; 16]) -> BTreeMap<String, Fact> {
        let mut all = BTreeMap::<String, Fact>::new();
        loop {
            let after = all.last_key_value().map_or(String::new(), |(name, _)| name.clone());
            let (name, after) = (name.as_bytes(), after.as_bytes());
            self.ask(&Request::List { name, after, room: MAX_ROOM });
            let (header, bytes) = self.block();
            let Header::Entries { end, folder, .. } = header else { panic!("{header:?}") };
            assert_eq!(folder, identity);
            let page: Vec<_> = Page::new(&bytes, after).map(Result::unwrap).collect();
            for entry in page {
                let is_folder = entry.entry_type == EntryType::Folder;
                let fact = Fact { is_folder, size: entry.size, identity: entry.identity };
                all.insert(String::from_utf8(entry.name.to_vec()).unwrap(), fact);
            }
            if end != PageEnd::More {
                assert_eq!(end, PageEnd::Whole);
                return all;
            }
        }
    }

    /// Why a folder is not listed.
    #[track_caller]
    pub(crate) fn refusal(&mut self, name: &str) -> RefusalCode {
        self.ask(&Request::List { name: name.as_bytes(), after: b"", room: MAX_ROOM });
        match self.block() {
            (Header::Refused { code, .. }, _) => code,
            (other, _) => panic!("{other:?}"),
        }
    }

    /// The bytes of a file in this state, or why there are none.
    #[track_caller]
    pub(crate) fn fetch(&mut self, name: &str, fact: &Fact) -> Result<Vec<u8>, RefusalCode> {
        let mut got = Vec::new();
        while (got.len() as u64) < fact.size {
            let offset = got.len() as u64;
            let length = (fact.size - offset).min(1 << 20) as u32;
            let (name, identity) = (name.as_bytes(), fact.identity);
            self.ask(&Request::Range { name, identity, offset, length, hash: None });
            let end = got.len() + length as usize;
            while got.len() < end {
                match self.block() {
                    (Header::Data { offset, .. }, bytes) if offset == got.len() as u64 => {
                        got.extend(bytes);
                    }
                    (Header::Hole { offset, length, .. }, _) if offset == got.len() as u64 => {
                        got.resize(got.len() + length as usize, 0);
                    }
                    (Header::Refused { code, .. }, _) => return Err(code),
                    (other, _) => panic!("{other:?}"),
                }
            }
        }
        Ok(got)
    }

    /// Every file of the tree, by its name.
    #[track_caller]
    pub(crate) fn fetch_all(&mut self, session: &Session) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![(String::new(), session.folder.identity)];
        while let Some((folder, identity)) = folders.pop() {
            for (name, fact) in self.list(&folder, identity) {
                let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if fact.is_folder {
                    folders.push((name, fact.identity));
                } else {
                    files.insert(name.clone(), self.fetch(&name, &fact).unwrap());
                }
            }
        }
        files
    }

    /// Says that all has arrived.
    pub(crate) fn finish(&mut self) {
        self.ask(&Request::Finished);
    }
}
