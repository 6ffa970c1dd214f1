//! The `tagomatic` program.
fn main() {}
