//! The wire's golden bytes and its limits.

use super::*;
use crate::hash::hex;

const HELLO: Hello = Hello {
    token: *b"0123456789abcdef",
    max_block: 128 << 10,
    unchecked: false,
    from_source: false,
};
const RANGE: Request<'static> =
    Request::Range { name: b"", identity: [0; 16], offset: 5 << 30, length: 128 << 10, hash: None };
const HASHED: Request<'static> = Request::Range {
    name: b"",
    identity: [0; 16],
    offset: 5 << 30,
    length: 128 << 10,
    hash: Some(*b"ABCDEFGHIJKLMNOP"),
};
const NAMED: Request<'static> = Request::Range {
    name: b"a/b.jpg",
    identity: *b"0123456789abcdef",
    offset: 0,
    length: 1000,
    hash: None,
};
const BOTH: Request<'static> = Request::Range {
    name: b"a/b.jpg",
    identity: *b"0123456789abcdef",
    offset: 64 << 10,
    length: 64 << 10,
    hash: Some(*b"ABCDEFGHIJKLMNOP"),
};
const LIST: Request<'static> = Request::List { name: b"a", after: b"b.jpg", room: MAX_ROOM };
const TOP: Request<'static> = Request::List { name: b"", after: b"", room: MIN_ROOM };
const STREAMS: Request<'static> = Request::Streams { wanted: 16, turn: 2 };
const REQUESTS: [Request<'static>; 11] = [
    RANGE,
    HASHED,
    NAMED,
    BOTH,
    LIST,
    TOP,
    MD5,
    Request::Finished,
    Request::Leave,
    Request::Idle,
    STREAMS,
];
const MD5: Request<'static> = Request::Md5 {
    name: b"a/b.jpg",
    identity: *b"0123456789abcdef",
    offset: 32 << 20,
    length: 32 << 20,
    state: *b"ABCDEFGHIJKLMNOP",
};
const DATA: Header = Header::Data { offset: 5 << 30, length: 4096, crc: 0x0102_0304 };
const HOLE: Header = Header::Hole { offset: 4096, length: 4096, run: 5 << 30 };
const ERROR: Header = Header::Error { code: ErrorCode::Changed, length: 7, crc: 1 };
const ENTRIES: Header = Header::Entries {
    end: PageEnd::Whole,
    folder: *b"0123456789abcdef",
    length: 73,
    crc: 0x0102_0304,
};
const SAME: Header = Header::Same { offset: 5 << 30, length: 128 << 10 };
const END: Header = Header::End { size: 5 << 30 };
const DIGEST: Header = Header::Md5 { length: 32 << 20, md5: *b"ABCDEFGHIJKLMNOP" };
const GONE: Header = Header::Refused { code: RefusalCode::Gone, length: 0, crc: 0 };
const CHANGED: Header =
    Header::Refused { code: RefusalCode::Changed, length: 73, crc: 0x0102_0304 };

/// A message with other bytes in it, and its CRC made right again.
fn altered<const N: usize>(mut message: [u8; N], at: usize, bytes: &[u8]) -> [u8; N] {
    message[at..at + bytes.len()].copy_from_slice(bytes);
    seal(&mut message);
    message
}

/// A request with other bytes in it, and its CRCs made right again.
fn resealed(request: &Request<'_>, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut message = request.encode();
    message[at..at + bytes.len()].copy_from_slice(bytes);
    let (head, rest) = message.split_first_chunk_mut::<REQUEST_SIZE>().unwrap();
    head[4..8].copy_from_slice(&crc32c(rest).to_be_bytes());
    seal(head);
    message
}

#[track_caller]
fn refused(request: &[u8], field: &'static str) {
    assert_eq!(Request::parse(request), Err(WireError::Field(field)));
}

#[test]
fn golden_hello() {
    assert_eq!(hex(&HELLO.encode()), "ff02000030313233343536373839616263646566000200006275bc34");
    let least = Hello { max_block: MIN_BLOCK, ..HELLO };
    assert_eq!(hex(&least.encode()), "ff020000303132333435363738396162636465660000100012df1fb8");
}

#[test]
fn golden_requests() {
    for (request, bytes) in [
        (RANGE, "01000000000000000000000140000000000200002ad7eef4"),
        (
            HASHED,
            "010100105e2b5be50000000140000000000200006556b8ab4142434445464748494a4b4c4d4e4f50",
        ),
        (
            NAMED,
            "01000017e23ebd3c0000000000000000000003e8cc2766e730313233343536373839616263646566612f622e6a7067",
        ),
        (
            BOTH,
            "010100272b1bd3c70000000000010000000100000f4d9f1e4142434445464748494a4b4c4d4e4f50\
             30313233343536373839616263646566612f622e6a7067",
        ),
        (LIST, "04000008625ee988000000000000000000010000270c83c2000161622e6a7067"),
        (TOP, "04000002f16177d2000000000000000000002000ddaa29ed0000"),
        (Request::Finished, "0200000000000000000000000000000000000000d242b944"),
        (Request::Leave, "0300000000000000000000000000000000000000e5014ef9"),
        (
            MD5,
            "070000272b1bd3c7000000000200000002000000e5a3850e4142434445464748494a4b4c4d4e4f5030313233343536373839616263646566612f622e6a7067",
        ),
        (Request::Idle, "050000000000000000000000000000000000000056897f77"),
        (STREAMS, "06000000000000000000000000000002000000106f317f87"),
    ] {
        assert_eq!(hex(&request.encode()), bytes, "{request:?}");
    }
    assert_eq!(Request::of_single_file(5 << 30, 128 << 10, None), RANGE);
}

#[test]
fn golden_headers() {
    assert_eq!(
        hex(&DATA.encode()),
        "01000000000010000000000140000000000000000000000001020304e0f4b3b8"
    );
    assert_eq!(
        hex(&HOLE.encode()),
        "02000000000010000000000000001000000000014000000000000000d91b05aa"
    );
    assert_eq!(
        hex(&ERROR.encode()),
        "030100000000000700000000000000000000000000000000000000019b794ce4"
    );
    for (header, bytes) in [
        (ENTRIES, "0401000000000049303132333435363738396162636465660102030465eed22b"),
        (SAME, "050000000002000000000001400000000000000000000000000000003a8913bc"),
        (Header::Wait, "06000000000000000000000000000000000000000000000000000000358066c2"),
        (END, "08000000000000000000000140000000000000000000000000000000f2444d5f"),
        (DIGEST, "09000000020000004142434445464748494a4b4c4d4e4f50000000001425a1f6"),
        (GONE, "07010000000000000000000000000000000000000000000000000000c9ab7f56"),
        (CHANGED, "070300000000004900000000000000000000000000000000010203043d73eff3"),
    ] {
        assert_eq!(hex(&header.encode()), bytes, "{header:?}");
    }
}

#[test]
fn a_hello_of_any_version_has_its_token_unless_it_is_damaged() {
    let hello = HELLO.encode();
    assert_eq!(Hello::token(&hello), Some(HELLO.token));
    assert_eq!(Hello::token(&altered(hello, 1, &[3])), Some(HELLO.token));
    assert_eq!(Hello::token(&altered(hello, 0, b"P")), None);
    for at in 0..HELLO_SIZE {
        let mut damaged = hello;
        damaged[at] ^= 1;
        assert_eq!(Hello::token(&damaged), None, "{at}");
    }
}

#[test]
fn http_in_place_of_a_block_is_told_from_a_damaged_one() {
    let reply = b"HTTP/1.1 503 Service Unavailable\r\n";
    assert_eq!(Header::parse(reply), Err(WireError::NotRopewalk));
    assert_eq!(Header::parse(&[b'H'; HEADER_SIZE]), Err(WireError::Checksum));
}

#[test]
fn a_written_message_reads_back() {
    for unchecked in [false, true] {
        let hello = Hello { unchecked, ..HELLO };
        assert_eq!(Hello::parse(&hello.encode()), Ok(Some((HELLO_SIZE, hello))));
    }
    for request in REQUESTS {
        let bytes = request.encode();
        assert_eq!(Request::parse(&bytes), Ok(Some((bytes.len(), request))));
    }
    let longest = [&b"n/".repeat(2047)[..], b"n"].concat();
    for hash in [None, Some([0xff; 16])] {
        let (name, identity, offset, length) = (&longest[..], [0; 16], 0, MAX_REQUEST);
        let range = Request::Range { name, identity, offset, length, hash };
        let bytes = range.encode();
        assert_eq!(Request::parse(&bytes), Ok(Some((bytes.len(), range))));
    }
    let list = Request::List { name: &longest, after: &[b'n'; 255], room: MIN_ROOM };
    let bytes = list.encode();
    assert_eq!(bytes.len(), LONGEST_REQUEST);
    assert_eq!(Request::parse(&bytes), Ok(Some((bytes.len(), list))));
    let other = Header::Error { code: ErrorCode::Other(99), length: 0, crc: 0 };
    let session = Header::Error { code: ErrorCode::Session, length: 0, crc: 0 };
    let left = Header::Error { code: ErrorCode::Left, length: 0, crc: 0 };
    let unknown = Header::Refused { code: RefusalCode::Other(99), length: 0, crc: 0 };
    let outside = Header::Refused { code: RefusalCode::NotEntered, length: 0, crc: 0 };
    // An identity is no offset: any bytes are one.
    let more = Header::Entries { end: PageEnd::More, folder: [0xff; 16], length: 1, crc: 0 };
    let none = Header::Entries { end: PageEnd::Partial, folder: [0; 16], length: 0, crc: 0 };
    for header in [
        DATA,
        HOLE,
        ERROR,
        ENTRIES,
        SAME,
        DIGEST,
        GONE,
        CHANGED,
        Header::Wait,
        END,
        session,
        left,
        other,
        unknown,
        outside,
        more,
        none,
    ] {
        assert_eq!(Header::parse(&header.encode()), Ok(Some((HEADER_SIZE, header))));
    }
}

#[test]
fn an_incomplete_message_asks_for_more() {
    for length in 0..HELLO_SIZE {
        assert_eq!(Hello::parse(&HELLO.encode()[..length]), Ok(None));
    }
    for request in REQUESTS {
        let bytes = request.encode();
        for length in 0..bytes.len() {
            assert_eq!(Request::parse(&bytes[..length]), Ok(None));
        }
    }
    for length in 0..HEADER_SIZE {
        assert_eq!(Header::parse(&DATA.encode()[..length]), Ok(None));
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    for bit in 0..HELLO_SIZE * 8 {
        let mut bytes = HELLO.encode();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Hello::parse(&bytes).is_err(), "hello, bit {bit}");
    }
    for request in REQUESTS {
        let whole = request.encode();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Request::parse(&bytes), Err(WireError::Checksum), "{request:?}, bit {bit}");
        }
    }
    for bit in 0..HEADER_SIZE * 8 {
        let mut bytes = DATA.encode();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Header::parse(&bytes), Err(WireError::Checksum), "header, bit {bit}");
    }
}

#[test]
fn another_protocol_is_refused_at_its_first_byte() {
    assert_eq!(Hello::parse(b"\x00"), Err(WireError::NotRopewalk));
    assert_eq!(Hello::parse(b"GET / HTTP/1.1"), Err(WireError::NotRopewalk));
}

#[test]
fn a_dialler_that_is_the_source_says_so() {
    let hello = Hello { from_source: true, ..HELLO };
    assert_eq!(hello.encode()[2], 2);
    assert_eq!(Hello::parse(&hello.encode()), Ok(Some((HELLO_SIZE, hello))));
}

#[test]
fn another_version_is_told_from_damage() {
    let bytes = altered(HELLO.encode(), 1, &[3]);
    assert_eq!(Hello::parse(&bytes), Err(WireError::Version(3)));
}

#[test]
fn unknown_flags_and_reserved_bytes_are_ignored() {
    let bytes = altered(HELLO.encode(), 2, &[0xfc, 0xff]);
    assert_eq!(Hello::parse(&bytes), Ok(Some((HELLO_SIZE, HELLO))));
    for request in REQUESTS {
        let known = request.encode()[1];
        let bytes = resealed(&request, 1, &[known | 0xfe]);
        assert_eq!(Request::parse(&bytes), Ok(Some((bytes.len(), request))));
    }
}

#[test]
fn block_sizes_are_bounded() {
    for (size, good) in
        [(MIN_BLOCK - 1, false), (MIN_BLOCK, true), (MAX_BLOCK, true), (MAX_BLOCK + 1, false)]
    {
        let bytes = altered(HELLO.encode(), 20, &size.to_be_bytes());
        assert_eq!(Hello::parse(&bytes).is_ok(), good, "{size}");
        let bytes = altered(DATA.encode(), 4, &size.to_be_bytes());
        assert_eq!(Header::parse(&bytes).is_ok(), size <= MAX_BLOCK, "{size}");
    }
    let bytes = altered(DATA.encode(), 4, &[0; 4]);
    assert_eq!(Header::parse(&bytes), Err(WireError::Field("length")));
}

#[test]
fn requests_are_bounded() {
    for (length, good) in [(0, false), (1, true), (MAX_REQUEST, true), (MAX_REQUEST + 1, false)] {
        let bytes = resealed(&RANGE, 16, &length.to_be_bytes());
        assert_eq!(Request::parse(&bytes).is_ok(), good, "{length}");
    }
    refused(&resealed(&RANGE, 8, &[0xff; 8]), "offset");
    for (length, good) in [(0, false), (1, true), (MAX_HASHED, true), (MAX_HASHED + 1, false)] {
        let bytes = resealed(&MD5, 16, &length.to_be_bytes());
        assert_eq!(Request::parse(&bytes).is_ok(), good, "{length}");
        let bytes = altered(DIGEST.encode(), 4, &length.to_be_bytes());
        assert_eq!(Header::parse(&bytes).is_ok(), good, "{length}");
    }
    for (offset, good) in [(64, true), (63, false), (u64::MAX - 63, false)] {
        let bytes = resealed(&MD5, 8, &u64::to_be_bytes(offset));
        assert_eq!(Request::parse(&bytes).is_ok(), good, "{offset}");
    }
    for (room, good) in [(0, false), (MIN_ROOM - 1, false), (MIN_ROOM, true), (MAX_ROOM + 1, false)]
    {
        let bytes = resealed(&LIST, 16, &room.to_be_bytes());
        assert_eq!(Request::parse(&bytes).is_ok(), good, "{room}");
    }
}

#[test]
fn a_number_of_streams_is_one_that_there_can_be() {
    for (wanted, good) in [(0u32, false), (1, true), (255, true), (256, false), (1 << 31, false)] {
        let bytes = resealed(&STREAMS, 16, &wanted.to_be_bytes());
        assert_eq!(Request::parse(&bytes).is_ok(), good, "{wanted}");
    }
}

/// It is refused before any of it is waited for.
#[test]
fn the_rest_of_a_request_is_bounded() {
    for (request, most) in [
        (RANGE, LONGEST_REQUEST - REQUEST_SIZE),
        (LIST, LONGEST_REQUEST - REQUEST_SIZE),
        (MD5, LONGEST_REQUEST - REQUEST_SIZE),
        (Request::Finished, 0),
        (Request::Leave, 0),
        (Request::Idle, 0),
        (STREAMS, 0),
    ] {
        let head = |rest: u16| {
            let mut head = *request.encode().first_chunk::<REQUEST_SIZE>().unwrap();
            head[2..4].copy_from_slice(&rest.to_be_bytes());
            seal(&mut head);
            head
        };
        refused(&head(u16::MAX), "rest");
        refused(&head(most as u16 + 1), "rest");
    }
}

#[test]
fn a_rest_has_what_its_kind_needs() {
    let range = |rest: &[u8], flags: u8| {
        let name = [b'n'; 255];
        let list = Request::List { name: b"", after: &name[..rest.len()], room: MIN_ROOM };
        let mut bytes = list.encode();
        bytes.truncate(REQUEST_SIZE + rest.len());
        bytes[REQUEST_SIZE..].copy_from_slice(rest);
        bytes[..2].copy_from_slice(&[1, flags]);
        bytes[2..4].copy_from_slice(&(rest.len() as u16).to_be_bytes());
        bytes[16..20].copy_from_slice(&HASH_UNIT.to_be_bytes());
        let (head, rest) = bytes.split_first_chunk_mut::<REQUEST_SIZE>().unwrap();
        head[4..8].copy_from_slice(&crc32c(rest).to_be_bytes());
        seal(head);
        bytes
    };
    assert!(Request::parse(&range(&[b'n'; 17], 0)).is_ok());
    assert!(Request::parse(&range(&[b'n'; 33], 1)).is_ok());
    refused(&range(&[b'n'; 15], 0), "rest");
    refused(&range(&[b'n'; 16], 0), "name");
    refused(&range(&[b'n'; 15], 1), "rest");
    refused(&range(&[b'n'; 31], 1), "rest");
    refused(&range(&[b'n'; 32], 1), "name");
    // The length of the folder's name is within the rest.
    refused(&resealed(&LIST, REQUEST_SIZE, &[0, 7]), "rest");
}

#[test]
fn names_of_requests_cannot_lead_out_of_the_tree() {
    for name in [&b"/etc/xx"[..], b"a/../xx", b"../a/xx", b"a//b/xx", b"a/b/xx/", b"a/./xxx"] {
        refused(&resealed(&NAMED, REQUEST_SIZE + 16, name), "name");
        refused(&resealed(&MD5, REQUEST_SIZE + 32, name), "name");
        refused(&Request::List { name, after: b"", room: MIN_ROOM }.encode(), "name");
    }
    for after in [&b"a/b"[..], b"..", b".", b"a\0", &[b'n'; 256]] {
        refused(&Request::List { name: b"a", after, room: MIN_ROOM }.encode(), "name");
    }
}

#[test]
fn a_hash_goes_with_whole_units_only() {
    for wrong in [1u64, (64 << 10) - 1, (64 << 10) + 512] {
        refused(&resealed(&HASHED, 8, &wrong.to_be_bytes()), "hash");
        refused(&resealed(&HASHED, 16, &(wrong as u32).to_be_bytes()), "hash");
    }
    let bytes = resealed(&HASHED, 16, &HASH_UNIT.to_be_bytes());
    assert!(matches!(Request::parse(&bytes), Ok(Some(_))));
}

#[test]
fn pages_and_refusals_are_bounded() {
    for (length, good) in [(0, false), (1, true), (MAX_ROOM, true), (MAX_ROOM + 1, false)] {
        let bytes = altered(ENTRIES.encode(), 4, &length.to_be_bytes());
        assert_eq!(Header::parse(&bytes).is_ok(), good || length == 0, "{length}");
        // Without an entry and without an end, a sink would ask for ever.
        let bytes = altered(bytes, 1, &[0]);
        assert_eq!(Header::parse(&bytes).is_ok(), good, "{length}");
    }
    assert_eq!(Header::parse(&altered(ENTRIES.encode(), 1, &[3])), Err(WireError::Field("code")));
    for (length, good) in [(0, false), (1, true), (MAX_ENTRY, true), (MAX_ENTRY + 1, false)] {
        let bytes = altered(CHANGED.encode(), 4, &length.to_be_bytes());
        assert_eq!(Header::parse(&bytes).is_ok(), good, "{length}");
        // Only a change has an entry.
        let bytes = altered(bytes, 1, &[1]);
        assert_eq!(Header::parse(&bytes).is_ok(), length == 0, "{length}");
    }
    for (length, good) in
        [(0, false), (HASH_UNIT - 1, false), (HASH_UNIT, true), (MAX_REQUEST + 1, false)]
    {
        let bytes = altered(SAME.encode(), 4, &length.to_be_bytes());
        assert_eq!(Header::parse(&bytes).is_ok(), good, "{length}");
    }
}

#[test]
fn error_texts_are_bounded() {
    for (length, good) in [(0, true), (MAX_ERROR_TEXT, true), (MAX_ERROR_TEXT + 1, false)] {
        let bytes = altered(ERROR.encode(), 4, &length.to_be_bytes());
        assert_eq!(Header::parse(&bytes).is_ok(), good, "{length}");
    }
}

#[test]
fn a_hole_is_at_least_as_long_as_its_answer() {
    assert!(Header::parse(&altered(HOLE.encode(), 16, &4096u64.to_be_bytes())).is_ok());
    let bytes = altered(HOLE.encode(), 16, &4095u64.to_be_bytes());
    assert_eq!(Header::parse(&bytes), Err(WireError::Field("run")));
    let bytes = altered(HOLE.encode(), 16, &[0xff; 8]);
    assert_eq!(Header::parse(&bytes), Err(WireError::Field("offset")));
}

#[test]
fn only_data_texts_and_entries_follow_their_header() {
    assert_eq!([DATA, HOLE, ERROR].map(|header| header.payload()), [4096, 0, 7]);
    let others = [ENTRIES, SAME, Header::Wait, GONE, CHANGED, DIGEST];
    assert_eq!(others.map(|header| header.payload()), [73, 0, 0, 0, 73, 0]);
}

#[test]
fn unknown_kinds_are_refused() {
    for kind in [0, 10, 0xff] {
        refused(&resealed(&RANGE, 0, &[kind]), "kind");
        assert!(Header::parse(&altered(DATA.encode(), 0, &[kind])).is_err());
    }
}

#[test]
fn an_error_says_in_words_what_is_wrong() {
    for (error, words) in [
        (WireError::Checksum, "a message's checksum differs"),
        (WireError::NotRopewalk, "not a ropewalk stream"),
        (WireError::Version(3), "version 3 is not supported"),
        (WireError::Field("run"), "invalid field 'run'"),
    ] {
        assert_eq!(error.to_string(), words);
    }
}
