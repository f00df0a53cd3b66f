//! What is fuzzed: one function for each kind of bytes that a stranger sends. Each function takes
//! any bytes, must not panic, and checks what holds for every parsed value. tests/corpus_fuzz and
//! the targets in `fuzz/` share this file, so they cannot drift.

#![allow(dead_code, unreachable_pub)] // each target in fuzz/ uses one of them

use ropewalk::codec::digest_auth::{Credentials, key, parse_challenges};
use ropewalk::codec::entry::{Entry, MAX_ENTRY, Page};
use ropewalk::codec::etag::{EntityTag, IfRange, TagList};
use ropewalk::codec::http::{Headers, Method, RequestHead, ResponseHead, encode_request};
use ropewalk::codec::journal::{self as format, JournalHeader, RECORD_SIZE, Record};
use ropewalk::codec::message::offer::Offer;
use ropewalk::codec::message::transfer_request::TransferRequest;
use ropewalk::codec::name::is_name;
use ropewalk::codec::range::{RangeOutcome, content_range, resolve};
use ropewalk::codec::structured::member;
use ropewalk::codec::text::escape_limited;
use ropewalk::codec::wire::{
    HASH_UNIT, HEADER_SIZE, HELLO_SIZE, Header, Hello, JOIN_SIZE, Join, LONGEST_REQUEST,
    REQUEST_SIZE, Request,
};
use ropewalk::codec::{accept, base64, date, json, percent, repr_digest};
use ropewalk::hash::MD5_UNIT;
use ropewalk::hash::crc32c::crc32c;
use std::fmt::Debug;

/// A function that takes any bytes.
pub type Target = fn(&[u8]);

/// All targets, by the names of their folders in `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 12] = [
    ("request_head", request_head),
    ("response_head", response_head),
    ("json", json),
    ("range", range),
    ("authorization", authorization),
    ("challenge", challenge),
    ("percent", percent),
    ("fields", fields),
    ("wire", wire),
    ("entries", entries),
    ("messages", messages),
    ("journal", journal),
];

/// A parser that asks for more until it has enough. Its result for all bytes at once must equal its
/// result for the same bytes in parts.
fn in_parts<'a, T: PartialEq + Debug, E: PartialEq + Debug>(
    data: &'a [u8],
    parse: impl Fn(&'a [u8]) -> Result<Option<(usize, T)>, E>,
) -> Option<(usize, T)> {
    let whole = parse(data);
    let start = data.get(..split_of(data)).unwrap_or_default();
    match parse(start) {
        Ok(None) => {}
        Ok(Some(found)) => assert_eq!(whole, Ok(Some(found)), "more bytes changed the message"),
        // With fewer bytes, the parser may report another of several faults.
        Err(_) => assert!(whole.is_err(), "more bytes made the input valid"),
    }
    let (used, value) = whole.ok()??;
    assert!(0 < used && used <= data.len());
    assert_eq!(parse(&data[..used - 1]).ok(), Some(None), "the parser did not need the last byte");
    assert_eq!(parse(&data[..used]), Ok(Some((used, value))));
    parse(data).ok()?
}

/// Some position in the bytes that depends on all of them.
fn split_of(data: &[u8]) -> usize {
    let sum = data.iter().fold(7usize, |sum, &byte| sum.wrapping_mul(31) ^ usize::from(byte));
    sum % (data.len() + 1)
}

/// The head of a request.
pub fn request_head(data: &[u8]) {
    let Some((_, head)) = in_parts(data, RequestHead::parse) else { return };
    assert!(!head.target.is_empty());
    let length = head.body_length();
    assert!(length.is_err() || length.ok().flatten() <= Some(64 << 10));
    let _ = (head.keep_alive(), head.expects_continue());
    // A parsed head, once encoded, parses to the same value.
    if let Ok(bytes) = encode_request(&head.method, &head.target, &[], b"") {
        let again = RequestHead::parse(&bytes);
        let again = again.ok().flatten().map(|(_, again)| (again.method, again.target));
        assert_eq!(again, Some((head.method, head.target)));
    }
}

/// The head of a response.
pub fn response_head(data: &[u8]) {
    let Some((_, head)) = in_parts(data, ResponseHead::parse) else { return };
    assert!((100..600).contains(&head.status));
    for was_head in [false, true] {
        let _ = head.framing(was_head);
    }
    let _ = (head.content_length(), head.keep_alive());
    assert!(escape_limited(&head.reason, 80).len() <= 80);
}

/// A JSON text.
pub fn json(data: &[u8]) {
    let Ok(value) = json::parse(data) else { return };
    let text = value.to_string();
    assert_eq!(json::parse(text.as_bytes()).ok(), Some(value), "{text}");
}

/// The file's size in eight bytes, and a `Range` field.
pub fn range(data: &[u8]) {
    let Some((size, value)) = data.split_first_chunk() else { return };
    let size = u64::from_be_bytes(*size);
    if let RangeOutcome::Part { start, length } = resolve(value, size) {
        assert!(length > 0 && start < size && length <= size - start);
        assert!(content_range(start, length, size).ends_with(&format!("/{size}")));
    }
}

/// An `Authorization` field.
pub fn authorization(data: &[u8]) {
    let Ok(credentials) = Credentials::parse(data) else { return };
    let text = credentials.format();
    assert!(text.is_ok(), "a parsed value cannot be encoded");
    let again = text.ok().and_then(|text| Credentials::parse(&text).ok());
    assert_eq!(again.as_ref(), Some(&credentials));
    let right = key(credentials.algorithm, &credentials.username, &credentials.realm, b"x");
    assert!(!credentials.proves(&right, Method::Get.as_bytes()) || data.len() > 100);
}

/// `WWW-Authenticate` fields, joined to one.
pub fn challenge(data: &[u8]) {
    for challenge in parse_challenges(data).unwrap_or_default() {
        let text = challenge.format();
        assert!(text.is_ok(), "a parsed value cannot be encoded");
        let again = text.ok().and_then(|text| parse_challenges(&text).ok());
        assert_eq!(again.as_deref(), Some(std::slice::from_ref(&challenge)));
        let answer = Credentials::answer(&challenge, (b"u", b"p"), (b"GET", b"/"), 1, b"c");
        let read = answer.format().ok().and_then(|text| Credentials::parse(&text).ok());
        assert_eq!(read.as_ref(), Some(&answer));
        let right = key(challenge.algorithm, b"u", &challenge.realm, b"p");
        assert!(answer.proves(&right, b"GET"));
    }
}

/// A percent-encoded path.
pub fn percent(data: &[u8]) {
    let encoded = percent::encode_path(data);
    let nul = data.contains(&0);
    assert_eq!(percent::decode(encoded.as_bytes()).ok().as_deref(), (!nul).then_some(data));
    let Ok(path) = percent::decode(data) else { return };
    assert!(path.len() <= data.len() && !path.contains(&0));
    let again = percent::decode(percent::encode_path(&path).as_bytes());
    assert_eq!(again, Ok(path));
}

/// The values of the small fields: entity tags, dates, digests.
pub fn fields(data: &[u8]) {
    if let Some(tag) = EntityTag::parse(data).filter(|_| data.is_ascii()) {
        assert_eq!(EntityTag::parse(tag.to_string().as_bytes()), Some(tag));
    }
    let own = EntityTag::strong("0");
    if let (Some(list), Some(own)) = (TagList::parse(data), own) {
        assert!(!list.matches_strongly(&own) || list.matches_weakly(&own));
    }
    let _ = IfRange::parse(data);
    let _ = accept::weight(data, "text/html").is_acceptable();
    if let Some(seconds) = date::parse(data) {
        assert!(seconds <= date::MAX_SECONDS);
        assert_eq!(date::parse(date::format(seconds).as_bytes()), Some(seconds));
    }
    for key in ["md5", "sha-256"] {
        let _ = member(data, key);
    }
    if let Ok(Some(digest)) = repr_digest::parse_md5(data) {
        let text = repr_digest::format_md5(&digest);
        assert_eq!(repr_digest::parse_md5(text.as_bytes()), Ok(Some(digest)));
    }
    let _ = repr_digest::wants_md5(data);
    if let Some(bytes) = base64::decode(data) {
        assert_eq!(base64::decode(base64::encode(&bytes).as_bytes()), Some(bytes));
    }
    assert_eq!(base64::decode(base64::encode(data).as_bytes()).as_deref(), Some(data));
}

/// The first `N` bytes, filled with zeros, and with the correct CRC32C at the end, so that fuzzed
/// bytes get past the checksum.
fn sealed<const N: usize>(data: &[u8]) -> [u8; N] {
    let mut message = [0; N];
    message.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
    let crc = crc32c(&message[..N - 4]);
    message[N - 4..].copy_from_slice(&crc.to_be_bytes());
    message
}

/// A request with correct checksums. Its rest has the announced length, if there are enough bytes.
fn sealed_request(data: &[u8]) -> Vec<u8> {
    let mut head = sealed::<REQUEST_SIZE>(data);
    let rest = data.get(REQUEST_SIZE..).unwrap_or_default();
    let length = usize::from(u16::from_be_bytes([head[2], head[3]])).min(rest.len());
    head[4..8].copy_from_slice(&crc32c(&rest[..length]).to_be_bytes());
    [&sealed::<REQUEST_SIZE>(&head)[..], rest].concat()
}

/// A page of a listing.
pub fn entries(data: &[u8]) {
    let (after, bytes) = data.split_at(data.len().min(1));
    let (mut last, mut at) = (after, 0);
    for entry in Page::new(bytes, after) {
        let Ok(entry) = entry else { break };
        assert!(entry.name > last && is_name(entry.name) && !entry.name.contains(&b'/'));
        last = entry.name;
        let mut again = Vec::new();
        entry.encode_into(&mut again);
        assert!(again.len() == entry.encoded_size() && again.len() <= MAX_ENTRY as usize);
        assert_eq!(Entry::parse(&again), Ok((again.len(), entry)));
        let Ok((used, same)) = Entry::parse(&bytes[at..]) else { unreachable!() };
        assert!(same == entry && used >= again.len());
        at += used;
    }
}

/// The bodies of a POST and of its reply.
pub fn messages(data: &[u8]) {
    if let Ok(request) = TransferRequest::from_body(data) {
        assert!(request.streams > 0 && request.most_streams != Some(0));
        let text = request.to_json().to_string();
        assert_eq!(TransferRequest::from_body(text.as_bytes()), Ok(request), "{text}");
    }
    let mut headers = Headers::new();
    headers.push("ETag", "\"tag\"");
    match Offer::from_reply(&headers, data) {
        Ok(offer) => {
            if let Offer::Tree(tree) = &offer {
                assert!(tree.port > 0 && tree.folder.mode <= 0o7777 && offer.etag().is_none());
            }
            let text = offer.to_json().to_string();
            let again = Offer::from_reply(&headers, text.as_bytes());
            assert!(again.is_ok_and(|again| again == offer), "{text}");
        }
        Err(words) => assert!(words.len() < 200 && escape_limited(words.as_bytes(), 200) == words),
    }
}

/// A stream's messages: a hello, a join, a request, a block's header.
pub fn wire(data: &[u8]) {
    in_parts(data, Hello::parse);
    in_parts(data, Request::parse);
    in_parts(data, Header::parse);
    if let Some((_, hello)) = in_parts(&sealed::<HELLO_SIZE>(data), Hello::parse) {
        assert_eq!(Hello::parse(&hello.encode()), Ok(Some((HELLO_SIZE, hello))));
        assert_eq!(Hello::token(&hello.encode()), Some(hello.token));
    }
    if let Ok(join) = Join::parse(&sealed::<JOIN_SIZE>(data)) {
        assert!(Join::parse(&join.encode()) == Ok(join));
    }
    if let Some((used, request)) = in_parts(&sealed_request(data), Request::parse) {
        match request {
            Request::Range { name, offset, length, hash, .. } => {
                assert!(length > 0 && offset.checked_add(length.into()).is_some());
                assert!(name.is_empty() || is_name(name));
                let is_whole = length % HASH_UNIT == 0 && offset % u64::from(HASH_UNIT) == 0;
                assert!(hash.is_none() || is_whole);
            }
            Request::List { name, after, .. } => {
                assert!(name.is_empty() || is_name(name));
                assert!(after.is_empty() || is_name(after) && !after.contains(&b'/'));
            }
            Request::Streams { wanted, .. } => assert!(wanted > 0),
            Request::Md5 { name, offset, length, .. } => {
                assert!(length > 0 && offset.checked_add(length.into()).is_some());
                assert!(is_name(name) && offset % MD5_UNIT == 0);
            }
            Request::Finished | Request::Leave | Request::Idle => {}
        }
        assert!(used <= LONGEST_REQUEST);
        assert_eq!(Request::parse(&request.encode()), Ok(Some((used, request))));
    }
    if let Some((_, header)) = in_parts(&sealed::<HEADER_SIZE>(data), Header::parse) {
        assert!(header.payload() <= 1 << 20);
        assert_eq!(Header::parse(&header.encode()), Ok(Some((HEADER_SIZE, header))));
    }
}

/// A journal: its header, and the records behind it.
pub fn journal(data: &[u8]) {
    read_journal(data);
    // The same with correct checksums.
    let mut bytes = data.to_vec();
    let length = |at: usize| data.get(at..at + 2).map_or(0, |two| two.iter().fold(0, fold));
    let end = format::HEADER_SIZE + length(8) + length(10);
    if let Some(crc) = bytes.get(..end).map(crc32c) {
        if let Some(place) = bytes.get_mut(end..end + 4) {
            place.copy_from_slice(&crc.to_be_bytes());
        }
    }
    read_journal(&bytes);
    let mut record = sealed::<RECORD_SIZE>(data);
    let salted = [&9u32.to_be_bytes()[..], &record[..RECORD_SIZE - 4]].concat();
    record[RECORD_SIZE - 4..].copy_from_slice(&crc32c(&salted).to_be_bytes());
    if let Some(read) = Record::parse(&record, 9) {
        assert_eq!(Record::parse(&read.encode(9), 9), Some(read));
    }
}

fn fold(number: usize, byte: &u8) -> usize {
    number << 8 | usize::from(*byte)
}

fn read_journal(bytes: &[u8]) {
    let Some((used, header)) = JournalHeader::parse(bytes) else { return };
    assert!(used <= bytes.len());
    let again = header.encode();
    assert_eq!(JournalHeader::parse(&again), Some((again.len(), header.clone())));
    for record in bytes[used..].chunks_exact(RECORD_SIZE) {
        let mut whole = [0; RECORD_SIZE];
        whole.copy_from_slice(record);
        if let Some(read) = Record::parse(&whole, header.salt) {
            assert_eq!(Record::parse(&read.encode(header.salt), header.salt), Some(read));
        }
    }
}
