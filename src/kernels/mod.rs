//! Arithmetic on slices.
mod level;

pub use level::Level;
