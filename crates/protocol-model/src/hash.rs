//! Owns the hash of a state: a few multiplications per field; the standard one takes most of the time of a search.

use std::hash::{Hash, Hasher};

use crate::state::State;

/// Gathers bytes eight at a time, then mixes.
#[derive(Default)]
struct Mixer {
    mixed: u64,
    gathered: u64,
    count: u32,
}

impl Mixer {
    fn mix(&mut self) {
        self.mixed = (self.mixed.rotate_left(23) ^ self.gathered).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (self.gathered, self.count) = (0, 0);
    }
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u8(*byte);
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.gathered = self.gathered << 8 | u64::from(value);
        self.count += 1;
        if self.count == 8 {
            self.mix();
        }
    }

    /// Lengths of arrays and discriminants of enums: a byte is enough.
    fn write_usize(&mut self, value: usize) {
        self.write_u8(value as u8);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u8(value as u8);
    }

    fn finish(&self) -> u64 {
        let last = (self.mixed.rotate_left(23) ^ self.gathered).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (last ^ last >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ last >> 32
    }
}

/// The hash of a state.
pub(crate) fn of(state: &State) -> u64 {
    let mut mixer = Mixer::default();
    state.hash(&mut mixer);
    mixer.finish()
}
