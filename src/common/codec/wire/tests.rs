//! The wire's golden bytes and its limits.

use super::*;
use crate::hash::hex;

const HELLO: Hello = Hello {
    token: *b"0123456789abcdef",
    max_block: 128 << 10,
    unchecked: false,
    from_source: false,
};
const RANGE: Request = Request::Range { file: 0, offset: 5 << 30, length: 128 << 10 };
const DATA: Header = Header::Data { offset: 5 << 30, length: 4096, crc: 0x0102_0304 };
const HOLE: Header = Header::Hole { offset: 4096, length: 4096, run: 5 << 30 };
const ERROR: Header = Header::Error { code: ErrorCode::Changed, length: 7, crc: 1 };

/// A message with other bytes in it, and its CRC made right again.
fn altered<const N: usize>(mut message: [u8; N], at: usize, bytes: &[u8]) -> [u8; N] {
    message[at..at + bytes.len()].copy_from_slice(bytes);
    seal(&mut message);
    message
}

#[test]
fn golden_hello() {
    assert_eq!(hex(&HELLO.encode()), "ff02000030313233343536373839616263646566000200006275bc34");
    let least = Hello { max_block: MIN_BLOCK, ..HELLO };
    assert_eq!(hex(&least.encode()), "ff020000303132333435363738396162636465660000100012df1fb8");
}

#[test]
fn golden_requests() {
    assert_eq!(hex(&RANGE.encode()), "01000000000000000000000140000000000200002ad7eef4");
    assert_eq!(
        hex(&Request::Finished.encode()),
        "0200000000000000000000000000000000000000d242b944"
    );
    assert_eq!(hex(&Request::Leave.encode()), "0300000000000000000000000000000000000000e5014ef9");
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
    for request in [RANGE, Request::Finished, Request::Leave] {
        assert_eq!(Request::parse(&request.encode()), Ok(Some((REQUEST_SIZE, request))));
    }
    let other = Header::Error { code: ErrorCode::Other(99), length: 0, crc: 0 };
    let session = Header::Error { code: ErrorCode::Session, length: 0, crc: 0 };
    for header in [DATA, HOLE, ERROR, session, other] {
        assert_eq!(Header::parse(&header.encode()), Ok(Some((HEADER_SIZE, header))));
    }
}

#[test]
fn an_incomplete_message_asks_for_more() {
    for length in 0..HELLO_SIZE {
        assert_eq!(Hello::parse(&HELLO.encode()[..length]), Ok(None));
    }
    for length in 0..REQUEST_SIZE {
        assert_eq!(Request::parse(&RANGE.encode()[..length]), Ok(None));
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
    for bit in 0..REQUEST_SIZE * 8 {
        let mut bytes = RANGE.encode();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Request::parse(&bytes), Err(WireError::Checksum), "request, bit {bit}");
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
    let bytes = altered(RANGE.encode(), 1, &[1, 2, 3]);
    assert_eq!(Request::parse(&bytes), Ok(Some((REQUEST_SIZE, RANGE))));
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
        let bytes = altered(RANGE.encode(), 16, &length.to_be_bytes());
        assert_eq!(Request::parse(&bytes).is_ok(), good, "{length}");
    }
    let bytes = altered(RANGE.encode(), 8, &[0xff; 8]);
    assert_eq!(Request::parse(&bytes), Err(WireError::Field("offset")));
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
fn only_data_and_the_text_of_an_error_follow_their_header() {
    assert_eq!([DATA, HOLE, ERROR].map(|header| header.payload()), [4096, 0, 7]);
}

#[test]
fn unknown_kinds_are_refused() {
    for kind in [0, 4, 0xff] {
        assert!(Request::parse(&altered(RANGE.encode(), 0, &[kind])).is_err());
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
