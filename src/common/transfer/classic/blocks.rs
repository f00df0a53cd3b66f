//! How the classic protocol divides a file: one block for each stream, cut at the end of the file
//! (PROTOCOL.md, "Data").

#![forbid(unsafe_code)]

use std::ops::Range;

/// Most streams of a classic transfer. A stream's number is one byte, from 0 to 254.
pub const MAX_STREAMS: u64 = 255;

/// Which bytes of a file each stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockPlan {
    size: u64,
    block_size: u64,
}

impl BlockPlan {
    /// The plan for a file of `size` bytes over `streams` streams; 0 counts as 1.
    pub fn new(size: u64, streams: u8) -> BlockPlan {
        BlockPlan { size, block_size: size / u64::from(streams.max(1)) + 1 }
    }

    /// The plan for a file of `size` bytes in blocks of `block_size`.
    pub fn with_block_size(size: u64, block_size: u64) -> BlockPlan {
        BlockPlan { size, block_size }
    }

    /// Bytes of a block that the end of the file does not cut.
    pub fn block_size(&self) -> u64 {
        self.block_size
    }

    /// The bytes that stream `number` carries. Empty if the block would start at the end of the
    /// file or behind it.
    pub fn block(&self, number: u8) -> Range<u64> {
        let start = self.block_size.saturating_mul(u64::from(number)).min(self.size);
        start..start.saturating_add(self.block_size).min(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "only arithmetic, twenty million times")]
    fn blocks_cover_every_file_once_and_in_order() {
        for size in 0..=600u64 {
            for streams in 1..=255u8 {
                let plan = BlockPlan::new(size, streams);
                let mut covered = 0;
                for number in 0..streams {
                    let block = plan.block(number);
                    assert_eq!(block.start, covered, "{size} bytes over {streams}: {number}");
                    assert!(block.end - block.start <= plan.block_size());
                    covered = block.end;
                }
                assert_eq!(covered, size, "{size} bytes over {streams}");
            }
        }
    }

    #[test]
    fn block_sizes_are_those_of_the_protocol() {
        assert_eq!(BlockPlan::new(10, 8).block_size(), 2);
        assert_eq!(BlockPlan::new(0, 1).block_size(), 1);
        assert_eq!(BlockPlan::new(1 << 30, 4).block_size(), (1 << 28) + 1);
    }

    #[test]
    fn a_short_file_leaves_its_last_streams_nothing() {
        let plan = BlockPlan::new(10, 8);
        let empty = (0..8).filter(|&number| plan.block(number).is_empty()).count();
        assert_eq!(empty, 3);
    }

    #[test]
    fn the_largest_numbers_do_not_wrap() {
        let plan = BlockPlan::with_block_size(u64::MAX, u64::MAX);
        assert_eq!(plan.block(0), 0..u64::MAX);
        assert!(plan.block(254).is_empty());
    }
}
