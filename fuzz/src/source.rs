//! Values out of an input's bytes, one after the other; where the bytes end, all are 0.

use arbitrary::{Arbitrary, Unstructured};
use tagomatic::aligned::{Block, as_floats_mut, zeroed};

/// An input that values are drawn from.
pub struct Source<'a>(Unstructured<'a>);

/// Numbers that arithmetic trips over.
const EXTREMES: [f32; 24] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1e-10,
    1e-40,
    -1e-45,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    1e30,
    -1e30,
    f32::MAX,
    f32::MIN,
    1.7e38,
    88.8,
    -88.8,
    -87.0,
    -87.4,
    16.64,
    65_504.0,
    6e-8,
    0.25,
    -0.25,
];

const NOT_FINITE: [f32; 4] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN];

impl<'a> Source<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        Source(Unstructured::new(input))
    }

    /// A number of any bits.
    pub fn any<T: Arbitrary<'a> + Default>(&mut self) -> T {
        self.0.arbitrary().unwrap_or_default()
    }

    pub fn flag(&mut self) -> bool {
        self.any::<u8>() & 1 == 1
    }

    /// Once in `bound` times, if bytes are random.
    pub fn rarely(&mut self, bound: u8) -> bool {
        self.any::<u8>() % bound == bound - 1
    }

    /// A number below `bound`, which is at most 256.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.any::<u8>()) % bound.max(1)
    }

    pub fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// A finite number: small, extreme, or of any bits.
    pub fn float(&mut self) -> f32 {
        let byte: u8 = self.any();
        match byte {
            0..24 => EXTREMES[usize::from(byte)],
            24..32 => Some(f32::from_bits(self.any())).filter(|x| x.is_finite()).unwrap_or_default(),
            _ => (f32::from(byte) - 144.0) / 16.0,
        }
    }

    /// Any number.
    pub fn number(&mut self) -> f32 {
        if self.rarely(16) { self.of(&NOT_FINITE) } else { self.float() }
    }

    /// At most `count` numbers, at least one, of which as many are drawn as there are bytes.
    pub fn numbers(&mut self, count: usize, mut draw: impl FnMut(&mut Self) -> f32) -> Vec<f32> {
        let count = count.min(self.0.len() / 2).max(1);
        (0..count).map(|_| draw(self)).collect()
    }

    /// Blocks whose floats are few numbers in an order that is not theirs.
    pub fn blocks(&mut self, blocks: usize, draw: impl FnMut(&mut Self) -> f32) -> Vec<Block> {
        let numbers = self.numbers(24, draw);
        let mut filled = zeroed(blocks * 16);
        for (i, float) in as_floats_mut(&mut filled).iter_mut().enumerate() {
            *float = numbers[(i * 5 + i / 16) % numbers.len()];
        }
        filled
    }

    /// A word of up to `longest` bytes.
    pub fn word(&mut self, longest: usize) -> String {
        let length = self.below(longest + 1).min(self.0.len());
        String::from_utf8_lossy(self.0.bytes(length).unwrap_or_default()).into_owned()
    }

    /// Up to `bound` numbers below `bound`, ascending.
    pub fn set(&mut self, bound: usize) -> Vec<u32> {
        let bits: u64 = self.any();
        (0..bound.min(64)).filter(|bit| bits >> bit & 1 == 1).map(|bit| bit as u32).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Bits of numbers. All NaN are one NaN: their payload is nobody's promise.
pub fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}
