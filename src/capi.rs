//! The C interface, as `capi/tagomatic.h` tells it: opaque handles, buffers of the caller, a status and a message.
//!
//! Whatever a function is given, short of a pointer that lies, it ends in a status: nothing panics into C.

#![doc = concat!("```c\n", include_str!("capi/tagomatic.h"), "```")]
#![allow(unsafe_code, reason = "arrays come from C as pointer and count")]
#![allow(missing_docs, clippy::missing_safety_doc, reason = "documentation and contract of every function are the header's")]
#![allow(non_camel_case_types, reason = "the names in C")]

mod border;
mod explain;
#[cfg(feature = "live")]
mod live;
mod model;
mod score;
#[cfg(feature = "train")]
mod train;

use std::ffi::c_char;

pub use border::*;
pub use explain::*;
#[cfg(feature = "live")]
pub use live::*;
pub use model::*;
pub use score::*;
#[cfg(feature = "train")]
pub use train::*;

/// Rises when a function changes or goes; new functions leave it.
pub const TAGM_ABI_VERSION: u32 = 1;

#[unsafe(no_mangle)]
pub extern "C" fn tagm_abi_version() -> u32 {
    TAGM_ABI_VERSION
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}
