//! Prints the shipped model's signature at each level of this machine.

use tagomatic::{Level, Result};

fn main() -> Result<()> {
    for level in Level::available() {
        println!("{} {:016x}", level.name(), signature::signature_at(level)?);
    }
    Ok(())
}
