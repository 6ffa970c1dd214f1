//! Random numbers that depend on *what* they decide, never on when or on which thread: Philox4x32-10.
//!
//! Source: Salmon, Moraes, Dror, Shaw, *Parallel random numbers: as easy as 1, 2, 3*, SC 2011. The key is the seed, the counter
//! names the decision (stream, item, epoch or step), so there is no state to share, to save or to get out of step.

/// The seed of all random decisions of one training, and the functions that make them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Philox {
    key: [u32; 2],
}

/// What a random number decides: the last word of the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Stream {
    Initial = 0,
    InputDropout = 1,
    HiddenDropout = 2,
    Negatives = 3,
    Shuffle = 4,
    DrawnTags = 5,
    DrawnKeywords = 6,
    Split = 7,
    Search = 8,
}

/// The parameter whose initial values are drawn; part of the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Parameter {
    /// First-layer weights, one row per keyword.
    W1 = 0,
    /// Output weights.
    W2 = 1,
    /// Decoder weights of an autoencoder that has its own.
    Decoder = 2,
    /// Tag vectors of the anchor model.
    TagVectors = 3,
}

/// Which layer drops its units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropoutLayer {
    /// Keywords of a sample.
    Input,
    /// Hidden units.
    Hidden,
}

/// What is drawn, with replacement, as negatives of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawn {
    /// Tags that it does not have.
    Tags,
    /// Keywords that it does not have.
    Keywords,
}

/// Blocks that are computed side by side.
const AT_ONCE: usize = 16;
/// Fewer than this are computed one by one, in less time.
const FEW: usize = 6;

const ROUNDS: usize = 10;
/// What is added to the words of the key after each round.
const KEY_STEP: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

#[inline(always)]
fn round([c0, c1, c2, c3]: [u32; 4], [k0, k1]: [u32; 2]) -> [u32; 4] {
    let p0 = u64::from(c0) * 0xD251_1F53;
    let p1 = u64::from(c2) * 0xCD9E_8D57;
    [high(p1) ^ c1 ^ k0, low(p1), high(p0) ^ c3 ^ k1, low(p0)]
}

impl Philox {
    /// The generator with this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Philox { key: [low(seed), high(seed)] }
    }

    /// The block of four random words at `counter`.
    #[must_use]
    pub fn block(self, counter: [u32; 4]) -> [u32; 4] {
        let (mut block, [mut k0, mut k1]) = (counter, self.key);
        for _ in 0..ROUNDS {
            block = round(block, [k0, k1]);
            k0 = k0.wrapping_add(KEY_STEP[0]);
            k1 = k1.wrapping_add(KEY_STEP[1]);
        }
        block
    }

    /// Initial values: element `i` of `parameter` is uniform in `[-radius, radius)`.
    pub fn uniform(self, parameter: Parameter, radius: f32, first: u64, values: &mut [f32]) {
        let mut block = [0; 4];
        let mut held = None;
        for (i, value) in (first..).zip(values) {
            if held != Some(i / 4) {
                held = Some(i / 4);
                block = self.block([low(i / 4), high(i / 4), parameter as u32, Stream::Initial as u32]);
            }
            *value = radius * (2.0 * unit(block[(i % 4) as usize]) - 1.0);
        }
    }

    /// Decides whether dropout at rate `threshold / 2^32` keeps each of `items` (keyword ids or unit numbers, best in ascending order)
    /// of `sample` in `step`: a mask of all bits for one that is kept, of none for the others, as far as there are masks. Masks,
    /// since no branch can foresee what is kept.
    pub fn dropout(self, layer: DropoutLayer, sample: u32, step: u32, threshold: u32, items: &[u32], masks: &mut [u32]) {
        let stream = match layer {
            DropoutLayer::Input => Stream::InputDropout,
            DropoutLayer::Hidden => Stream::HiddenDropout,
        };
        let (mut first, mut blocks) = (0, [0; AT_ONCE]);
        while first < items.len() {
            // The blocks of the next items, each once for those that follow each other in it. Whether the next one is in the same block is
            // not to be foreseen, so nothing branches on it.
            let (mut last, mut count, mut before) = (first, 0, u32::MAX);
            while last < items.len() && count < AT_ONCE {
                let block = items[last] / 4;
                count += usize::from(block != before);
                blocks[count - 1] = block;
                before = block;
                last += 1;
            }
            let words = self.blocks(&blocks, count, [sample, step, stream as u32]);
            // Its neighbour tells where the next block begins: the lane of one item does not wait for a read at that of another.
            let (mut lane, mut before) = (0, blocks[0]);
            for (item, mask) in items[first..last].iter().zip(masks.iter_mut().skip(first)) {
                lane += usize::from(item / 4 != before);
                before = item / 4;
                *mask = u32::from(words[(item % 4) as usize][lane] >= threshold).wrapping_neg();
            }
            first = last;
        }
    }

    /// The blocks at the counters `[firsts[i], rest...]` for i below `count`: `[word][i]`.
    fn blocks(self, firsts: &[u32; AT_ONCE], count: usize, rest: [u32; 3]) -> [[u32; AT_ONCE]; 4] {
        let [mut c0, mut c1, mut c2, mut c3] = [*firsts, [rest[0]; AT_ONCE], [rest[1]; AT_ONCE], [rest[2]; AT_ONCE]];
        if count < FEW {
            for (i, first) in firsts[..count].iter().enumerate() {
                [c0[i], c1[i], c2[i], c3[i]] = self.block([*first, rest[0], rest[1], rest[2]]);
            }
            return [c0, c1, c2, c3];
        }
        // The rounds of `block`, lane by lane: compilers make vectors of them.
        let [mut k0, mut k1] = self.key;
        for _ in 0..ROUNDS {
            for i in 0..AT_ONCE {
                [c0[i], c1[i], c2[i], c3[i]] = round([c0[i], c1[i], c2[i], c3[i]], [k0, k1]);
            }
            k0 = k0.wrapping_add(KEY_STEP[0]);
            k1 = k1.wrapping_add(KEY_STEP[1]);
        }
        [c0, c1, c2, c3]
    }

    /// The 64-bit key that orders `item` among the negatives of `tag` in `epoch`.
    #[must_use]
    pub fn negative_key(self, item: u32, tag: u32, epoch: u32) -> u64 {
        self.key64([item, tag, epoch, Stream::Negatives as u32])
    }

    /// The 64-bit key of the `attempt`-th draw of a negative for `sample` in `step`.
    #[must_use]
    pub fn draw_key(self, drawn: Drawn, attempt: u32, sample: u32, step: u32) -> u64 {
        let stream = match drawn {
            Drawn::Tags => Stream::DrawnTags,
            Drawn::Keywords => Stream::DrawnKeywords,
        };
        self.key64([attempt, sample, step, stream as u32])
    }

    /// A permutation of `0..n` for `epoch`: items by ascending key.
    #[must_use]
    pub fn permutation(self, n: u32, epoch: u32) -> Vec<u32> {
        self.shuffled(n, epoch, 0, 1)
    }

    /// Part `part` of `parts` of [`Philox::permutation`]: the items whose keys are in that part of all keys. Parts are about as long
    /// as each other; in order they are the whole.
    #[must_use]
    pub fn shuffled(self, n: u32, epoch: u32, part: u64, parts: u64) -> Vec<u32> {
        let keys = (0..n).map(|item| (self.key64([item, 0, epoch, Stream::Shuffle as u32]), item));
        let keys: Vec<(u64, u32)> = keys.filter(|(key, _)| bounded(*key, parts) == part).collect();
        // Keys are uniform, so how far they are in their part divides them into buckets of about 8, each sorted by itself.
        let bits = (keys.len() / 8).checked_ilog2().unwrap_or(0) + 1;
        let bucket = |key: u64| (key.wrapping_mul(parts) >> (64 - bits)) as usize;
        let mut ends = vec![0_usize; 1 << bits];
        keys.iter().for_each(|(key, _)| ends[bucket(*key)] += 1);
        let mut end = 0;
        for place in &mut ends {
            end += std::mem::replace(place, end);
        }
        let mut keyed = vec![(0, 0); keys.len()];
        for (key, item) in keys {
            let end = &mut ends[bucket(key)];
            keyed[*end] = (key, item);
            *end += 1;
        }
        let mut start = 0;
        for end in ends {
            keyed[start..end].sort_unstable();
            start = end;
        }
        keyed.into_iter().map(|(_, item)| item).collect()
    }

    /// A number in `[0, 1)` that decides on which side of a split `sample` falls.
    #[must_use]
    pub fn split(self, sample: u32) -> f32 {
        unit(self.block([sample, 0, 0, Stream::Split as u32])[0])
    }

    /// The 64-bit key of choice number `choice` of trial number `trial` of a search.
    #[must_use]
    pub fn search_key(self, trial: u32, choice: u32) -> u64 {
        self.key64([trial, choice, 0, Stream::Search as u32])
    }

    fn key64(self, counter: [u32; 4]) -> u64 {
        let [low, high, ..] = self.block(counter);
        u64::from(low) | u64::from(high) << 32
    }
}

/// The `m` of `items` with the smallest keys (ties: the smaller item), in ascending order of items: a sample without replacement.
#[must_use]
pub fn without_replacement(items: impl Iterator<Item = u32>, m: usize, key: impl Fn(u32) -> u64) -> Vec<u32> {
    let mut keyed: Vec<(u64, u32)> = items.map(|item| (key(item), item)).collect();
    if m < keyed.len() {
        keyed.select_nth_unstable(m);
        keyed.truncate(m);
    }
    let mut chosen: Vec<u32> = keyed.into_iter().map(|(_, item)| item).collect();
    chosen.sort_unstable();
    chosen
}

/// A random word as a number below `n`: `floor(word * n / 2^64)`. 0 when `n` is 0.
#[must_use]
pub fn bounded(word: u64, n: u64) -> u64 {
    ((u128::from(word) * u128::from(n)) >> 64) as u64
}

/// The threshold of [`Philox::dropout`] for rate `q` in `[0, 1)`: `floor(q * 2^32)`.
#[must_use]
pub fn dropout_threshold(q: f64) -> u32 {
    (q * 4_294_967_296.0) as u32
}

/// A word as a number in `[0, 1)`: its upper 24 bits.
#[must_use]
pub fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

const fn low(x: u64) -> u32 {
    (x & 0xFFFF_FFFF) as u32
}

const fn high(x: u64) -> u32 {
    (x >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_side_by_side_are_those_of_their_own() {
        let rng = Philox::new(0x1234_5678_9ABC_DEF0);
        // Few, many, several from one block, and in no order.
        let ascending: Vec<u32> = (0..200).filter(|n| n % 7 < 3).collect();
        for items in
            [&[][..], &[5], &[1, 2, 40, 41], &ascending, &[9, 1, 8, 3, 3, 100, 7, 60, 64, 68, 72, 76, 80, 84, 88, 92, 96, 0, 4]]
        {
            for (layer, stream) in [(DropoutLayer::Input, Stream::InputDropout), (DropoutLayer::Hidden, Stream::HiddenDropout)]
            {
                let mut found = vec![1; items.len()];
                rng.dropout(layer, 77, 6, 1 << 31, items, &mut found);
                let word = |item: u32| rng.block([item / 4, 77, 6, stream as u32])[(item % 4) as usize];
                let expected: Vec<u32> = items.iter().map(|item| if word(*item) >= 1 << 31 { u32::MAX } else { 0 }).collect();
                assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn a_permutation_is_in_the_order_of_its_keys() {
        for n in [0, 1, 2, 7, 8, 9, 1000] {
            let mut keyed: Vec<(u64, u32)> =
                (0..n).map(|item| (Philox::new(3).key64([item, 0, 5, Stream::Shuffle as u32]), item)).collect();
            keyed.sort_unstable();
            let expected: Vec<u32> = keyed.into_iter().map(|(_, item)| item).collect();
            assert_eq!(Philox::new(3).permutation(n, 5), expected);
        }
    }
}
