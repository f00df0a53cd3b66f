//! Shifts a CRC-32C register over zero bytes without feeding them, to join the registers of
//! neighbouring pieces.

#![forbid(unsafe_code)]

use super::table::POLYNOMIAL;

/// The polynomial 1. The lowest power is in the highest bit.
const ONE: u32 = 0x8000_0000;

/// A move over a fixed number of zero bytes, as four table look-ups.
///
/// Such a move multiplies the register by a power of x. Multiplication is linear: the product of
/// the register is the sum of the products of its four bytes.
pub(super) struct Shift {
    /// Indexed by a byte's place in the register, then by its value.
    tables: [[u32; 256]; 4],
}

impl Shift {
    /// The move over `bytes` zero bytes. It is slow: for compile time only.
    pub(super) const fn over(bytes: usize) -> Shift {
        let power = power_of_x(bytes * 8);
        let mut tables = [[0; 256]; 4];
        let mut place = 0;
        while place < 4 {
            let mut value = 1;
            while value < 256 {
                let lowest = value & (!value + 1);
                tables[place][value] = if value == lowest {
                    multiply((value as u32) << (8 * place), power)
                } else {
                    tables[place][lowest] ^ tables[place][value ^ lowest]
                };
                value += 1;
            }
            place += 1;
        }
        Shift { tables }
    }

    /// The register `crc` after that many zero bytes. It is the bare register, without an
    /// inversion before or after.
    #[inline]
    pub(super) fn apply(&self, crc: u32) -> u32 {
        let [first, second, third, fourth] = crc.to_le_bytes().map(usize::from);
        (self.tables[0][first] ^ self.tables[1][second])
            ^ (self.tables[2][third] ^ self.tables[3][fourth])
    }
}

/// x to the power of `exponent`, modulo the polynomial.
const fn power_of_x(exponent: usize) -> u32 {
    let mut power = ONE;
    let mut square = ONE >> 1;
    let mut left = exponent;
    while left > 0 {
        if left & 1 == 1 {
            power = multiply(power, square);
        }
        square = multiply(square, square);
        left >>= 1;
    }
    power
}

/// The product of two polynomials, modulo the polynomial.
const fn multiply(left: u32, right: u32) -> u32 {
    let mut product = 0;
    let mut term = right;
    let mut bit = ONE;
    while bit > 0 {
        if left & bit != 0 {
            product ^= term;
        }
        term = if term & 1 == 1 { (term >> 1) ^ POLYNOMIAL } else { term >> 1 };
        bit >>= 1;
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::crc32c::table;

    #[test]
    fn a_shift_is_as_many_zero_bytes() {
        let lengths = [0, 1, 8, 2, 3, 255, 256, 4096];
        // Miri takes a thousand times as long for a step, so it looks at fewer cases.
        for bytes in lengths.into_iter().take(if cfg!(miri) { 3 } else { lengths.len() }) {
            let shift = Shift::over(bytes);
            for crc in [0, 1, 0x8000_0000, 0xdead_beef, !0] {
                let fed = !table::extend(!crc, &vec![0; bytes]);
                assert_eq!(shift.apply(crc), fed, "{crc:#x} over {bytes}");
            }
        }
    }

    #[test]
    fn one_is_neutral() {
        assert_eq!(multiply(ONE, 0xdead_beef), 0xdead_beef);
        assert_eq!(multiply(0xdead_beef, ONE), 0xdead_beef);
    }
}
