//! Kernel levels: which instructions a kernel may use.

use crate::named::named;

/// An instruction set level. All levels give the same bits; a higher one is faster.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::{Level, Model, Tagger};
///
/// for level in Level::available() {
///     let tagger = Tagger::with_level(Model::open("models/movies.tagm")?, level)?;
///     println!("{level:?} {:016x}", tagger.signature()?); // the same each time
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// Plain loops: the reference that the others are tested against.
    Scalar,
    /// The `wide` crate, with the instructions that the build allows: SSE2, NEON, wasm simd128.
    Portable,
    /// x86-64 with AVX2 and F16C: every CPU that has the one has the other.
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL and DQ; VNNI is used where it is there.
    Avx512,
}

impl Level {
    /// Whether this machine can run the level.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Level::Scalar | Level::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => {
                std::arch::is_x86_feature_detected!("avx2")
                    && std::arch::is_x86_feature_detected!("f16c")
                    && std::arch::is_x86_feature_detected!("popcnt")
            }
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => {
                std::arch::is_x86_feature_detected!("popcnt")
                    && std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512vl")
                    && std::arch::is_x86_feature_detected!("avx512dq")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx2 | Level::Avx512 => false,
        }
    }

    /// The levels that this machine can run, lowest first.
    pub fn available() -> impl Iterator<Item = Level> {
        Self::ALL.iter().copied().filter(|level| level.is_available())
    }

    /// The fastest level that this machine can run.
    #[must_use]
    pub fn best() -> Level {
        Self::available().last().unwrap_or(Level::Scalar)
    }
}

named!(Level, "kernel level", "scalar, portable, avx2 or avx512", {
    Scalar => "scalar",
    Portable => "portable",
    Avx2 => "avx2",
    Avx512 => "avx512",
});
