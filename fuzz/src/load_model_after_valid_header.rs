//! Sections of any content as a model whose header, table and checksums are right.

use super::{container, load_model};

pub fn run(input: &[u8]) {
    load_model::run(&container::unpack(input));
}
