//! A network whose faults a test picks, and that counts its streams.

use crate::network::{Course, Fault, Weather};
use crate::random::Random;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A course without a fault.
const CLEAN: Course = Course { piece: 1 << 16, delay: Duration::ZERO, fault: None };

/// So many streams have a fault on their way to the dialler; later streams have none.
pub(crate) struct Faults {
    left: usize,
    fault: Option<(u64, Fault)>,
    opened: Arc<AtomicU64>,
}

impl Faults {
    /// No fault at all.
    pub(crate) fn none() -> Faults {
        Faults { left: 0, fault: None, opened: Arc::default() }
    }

    /// `fault` at the byte of this number, on the first `streams`.
    pub(crate) fn first(streams: usize, at: u64, fault: Fault) -> Faults {
        Faults { left: streams, fault: Some((at, fault)), opened: Arc::default() }
    }

    /// How many streams were opened.
    pub(crate) fn opened(&self) -> Arc<AtomicU64> {
        self.opened.clone()
    }
}

impl Weather for Faults {
    fn courses(&mut self, _random: &mut Random) -> [Course; 2] {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let fault = self.fault.filter(|_| self.left > 0);
        self.left = self.left.saturating_sub(1);
        [CLEAN, Course { fault, ..CLEAN }]
    }
}
