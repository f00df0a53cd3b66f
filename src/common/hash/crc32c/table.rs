//! CRC-32C on any processor: tables made by the compiler, sixteen bytes at a time.

#![forbid(unsafe_code)]

/// The polynomial 0x1EDC6F41 (RFC 3720, section 12.1), its highest power in the
/// lowest bit, as bytes are fed in.
pub(super) const POLYNOMIAL: u32 = 0x82f6_3b78;

/// Bytes of one step through the tables.
const STRIDE: usize = 16;

/// `TABLES[n][byte]`: what `byte` becomes once `n` more bytes have followed it.
static TABLES: [[u32; 256]; STRIDE] = tables();

/// The checksum of a message whose checksum was `crc` before `bytes` were appended to it, by
/// tables alone: the fallback of `hash::crc32c::extend`.
pub fn extend(crc: u32, bytes: &[u8]) -> u32 {
    let mut crc = !crc;
    let mut rest = bytes;
    while let Some((chunk, tail)) = rest.split_first_chunk::<STRIDE>() {
        let mut chunk = *chunk;
        for (byte, register) in chunk.iter_mut().zip(crc.to_le_bytes()) {
            *byte ^= register;
        }
        crc = 0;
        for (at, byte) in chunk.into_iter().enumerate() {
            crc ^= TABLES[STRIDE - 1 - at][usize::from(byte)];
        }
        rest = tail;
    }
    for byte in rest {
        crc = (crc >> 8) ^ TABLES[0][usize::from(crc as u8 ^ byte)];
    }
    !crc
}

/// The tables: the first one by long division, each other one from its predecessor.
const fn tables() -> [[u32; 256]; STRIDE] {
    let mut tables = [[0; 256]; STRIDE];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < STRIDE {
        let mut byte = 0;
        while byte < 256 {
            let before: u32 = tables[table - 1][byte];
            tables[table][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit by bit, as the polynomial is defined.
    fn by_bits(bytes: &[u8]) -> u32 {
        let mut crc = !0;
        for byte in bytes {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (POLYNOMIAL & 0u32.wrapping_sub(crc & 1));
            }
        }
        !crc
    }

    #[test]
    fn the_tables_agree_with_long_division() {
        let message: Vec<u8> = (0..100u8).map(|at| at.wrapping_mul(37)).collect();
        // Miri takes a thousand times as long for a step.
        for length in (0..=message.len()).step_by(if cfg!(miri) { 9 } else { 1 }) {
            assert_eq!(extend(0, &message[..length]), by_bits(&message[..length]), "{length}");
        }
    }

    #[test]
    fn a_checksum_goes_on_where_it_stopped() {
        let message: Vec<u8> = (0..100).collect();
        let whole = by_bits(&message);
        for split in 0..=message.len() {
            let (head, tail) = message.split_at(split);
            assert_eq!(extend(extend(0, head), tail), whole, "{split}");
        }
    }
}
