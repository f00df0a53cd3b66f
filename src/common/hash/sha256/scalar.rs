//! SHA-256's compression on any processor (FIPS 180-4, section 6.2.2). Does not pad or count.

#![forbid(unsafe_code)]

use super::{ROUNDS, State};
use crate::hash::block::BLOCK;

/// Words of the message schedule that are kept at a time.
const WINDOW: usize = 16;

/// Takes whole blocks into the state.
pub(super) fn compress(state: &mut State, whole: &[u8]) {
    let mut rest = whole;
    while let Some((block, tail)) = rest.split_first_chunk::<BLOCK>() {
        compress_block(state, block);
        rest = tail;
    }
}

/// Takes one block into the state.
fn compress_block(state: &mut State, block: &[u8; BLOCK]) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    let mut words = words(block);

    // One round, which reads word `$at`. Its results take the places of `$d` and
    // `$h`: the next round turns the names instead of moving the values.
    macro_rules! round {
        ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident,
         $constants:ident, $at:expr) => {
            let sum = $h
                .wrapping_add($constants[$at])
                .wrapping_add(words[$at])
                .wrapping_add((($f ^ $g) & $e) ^ $g)
                .wrapping_add($e.rotate_right(6) ^ $e.rotate_right(11) ^ $e.rotate_right(25));
            $d = $d.wrapping_add(sum);
            $h = sum
                .wrapping_add(($a & $b) | (($a | $b) & $c))
                .wrapping_add($a.rotate_right(2) ^ $a.rotate_right(13) ^ $a.rotate_right(22));
            words[$at] = after(&words, $at);
        };
    }
    // Eight rounds from `$at` on, after which each variable has its own name again.
    macro_rules! eight {
        ($constants:ident, $at:expr) => {
            round!(a b c d e f g h, $constants, $at);
            round!(h a b c d e f g, $constants, $at + 1);
            round!(g h a b c d e f, $constants, $at + 2);
            round!(f g h a b c d e, $constants, $at + 3);
            round!(e f g h a b c d, $constants, $at + 4);
            round!(d e f g h a b c, $constants, $at + 5);
            round!(c d e f g h a b, $constants, $at + 6);
            round!(b c d e f g h a, $constants, $at + 7);
        };
    }
    for constants in ROUNDS.chunks_exact(WINDOW) {
        eight!(constants, 0);
        eight!(constants, 8);
    }

    for (sum, word) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *sum = sum.wrapping_add(word);
    }
}

/// The block as words, the high byte first: the message schedule's first sixteen.
fn words(block: &[u8; BLOCK]) -> [u32; WINDOW] {
    let mut words = [0; WINDOW];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    words
}

/// The word of the message schedule sixteen after the one at `at`, which it replaces.
#[inline(always)]
fn after(words: &[u32; WINDOW], at: usize) -> u32 {
    let far = words[(at + 1) % WINDOW];
    let near = words[(at + 14) % WINDOW];
    words[at]
        .wrapping_add(far.rotate_right(7) ^ far.rotate_right(18) ^ (far >> 3))
        .wrapping_add(words[(at + 9) % WINDOW])
        .wrapping_add(near.rotate_right(17) ^ near.rotate_right(19) ^ (near >> 10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha256::START;

    #[test]
    fn words_have_the_high_byte_first() {
        let mut block = [0; BLOCK];
        block[60..].copy_from_slice(&[1, 2, 3, 4]);
        assert_eq!(words(&block)[15], 0x0102_0304);
    }

    #[test]
    fn blocks_in_one_slice_are_blocks_one_by_one() {
        let blocks: Vec<u8> = (0..192).collect();
        let (mut together, mut apart) = (START, START);
        compress(&mut together, &blocks);
        blocks.chunks(BLOCK).for_each(|block| compress(&mut apart, block));
        assert_eq!(together, apart);
    }

    #[test]
    fn no_blocks_leave_the_state_alone() {
        let mut state = START;
        compress(&mut state, &[]);
        assert_eq!(state, START);
    }
}
