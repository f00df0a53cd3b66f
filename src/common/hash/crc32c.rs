//! CRC-32C (Castagnoli; RFC 3720, section 12.1): the checksum of blocks and headers. Chooses the
//! fastest implementation of this processor, once.

pub mod table;

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod shift;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

/// An implementation of `extend`.
type Extend = fn(u32, &[u8]) -> u32;

/// The checksum of `bytes`: `0xe3069283` for `123456789`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    extend(0, bytes)
}

/// The checksum of a message whose checksum was `crc` before `bytes` were appended to it. The
/// checksum of the empty message is 0.
pub fn extend(crc: u32, bytes: &[u8]) -> u32 {
    static FASTEST: OnceLock<Extend> = OnceLock::new();
    FASTEST.get_or_init(|| accelerated().unwrap_or(table::extend))(crc, bytes)
}

/// `extend` with this processor's own instruction, if it has one.
fn accelerated() -> Option<Extend> {
    #[cfg(target_arch = "x86_64")]
    return x86::detect();
    #[cfg(target_arch = "aarch64")]
    return arm::detect();
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    /// RFC 3720, appendix B.4; the checksums as numbers, not in wire order.
    fn rfc_3720() -> Vec<(Vec<u8>, u32)> {
        let read_command = [
            0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0x04, 0, 0,
            0, 0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0,
        ];
        vec![
            (vec![0; 32], 0x8a91_36aa),
            (vec![0xff; 32], 0x62a8_ab43),
            ((0..32).collect(), 0x46dd_794e),
            ((0..32).rev().collect(), 0x113f_db5c),
            (read_command.to_vec(), 0xd996_3a56),
            (b"123456789".to_vec(), 0xe306_9283),
        ]
    }

    /// Miri takes a thousand times as long for a step, so it looks at fewer cases.
    const STRIDE: usize = if cfg!(miri) { 37 } else { 1 };

    #[test]
    fn the_examples_of_rfc_3720_hold() {
        for (message, crc) in rfc_3720() {
            assert_eq!(crc32c(&message), crc, "{message:x?}");
        }
    }

    #[test]
    fn the_examples_of_rfc_3720_hold_for_the_tables() {
        for (message, crc) in rfc_3720() {
            assert_eq!(table::extend(0, &message), crc, "{message:x?}");
        }
    }

    #[test]
    fn no_bytes_change_nothing() {
        assert_eq!(crc32c(&[]), 0);
        assert_eq!(extend(0xe306_9283, &[]), 0xe306_9283);
    }

    #[test]
    fn the_instruction_agrees_with_the_tables_at_every_length_and_alignment() {
        let Some(accelerated) = accelerated() else { return };
        let message = message(4096 + 32);
        let offset = message.as_ptr().align_offset(16);
        for alignment in (0..16).step_by(if cfg!(miri) { 5 } else { 1 }) {
            let aligned = &message[offset + alignment..];
            for length in (0..=4096).step_by(STRIDE * STRIDE) {
                let bytes = &aligned[..length];
                assert_eq!(
                    accelerated(0, bytes),
                    table::extend(0, bytes),
                    "{length} bytes at {alignment}"
                );
            }
        }
    }

    #[test]
    fn the_instruction_agrees_with_the_tables_on_long_messages() {
        let Some(accelerated) = accelerated() else { return };
        let message = message(if cfg!(miri) { 12_289 } else { 200_000 });
        let lengths = [12_287, 12_288, 12_289, 24_576, 65_536, 131_072, 199_999, 200_000];
        for length in lengths.into_iter().filter(|length| *length <= message.len()) {
            let bytes = &message[..length];
            assert_eq!(accelerated(5, bytes), table::extend(5, bytes), "{length}");
        }
    }

    #[test]
    fn every_split_gives_the_same_checksum() {
        let message = message(1000);
        let whole = crc32c(&message);
        for split in (0..=message.len()).step_by(STRIDE) {
            let (head, tail) = message.split_at(split);
            assert_eq!(extend(crc32c(head), tail), whole, "{split}");
            assert_eq!(table::extend(table::extend(0, head), tail), whole, "{split}");
        }
    }

    #[test]
    fn one_flipped_bit_shows() {
        let mut message = message(300);
        let whole = crc32c(&message);
        message[123] ^= 0x10;
        assert_ne!(crc32c(&message), whole);
    }
}
