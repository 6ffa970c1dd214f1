//! Between C and Rust: statuses and messages, arrays and handles.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Error;

/// What became of a call.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum tagm_status {
    /// Done.
    TAGM_OK = 0,
    /// The system refused to read or write.
    TAGM_IO = 1,
    /// The bytes are no valid model.
    TAGM_BAD_MODEL = 2,
    /// The model needs a newer version of this library.
    TAGM_NEWER_MODEL = 3,
    /// A pointer is NULL that must not be, or a number is out of its range.
    TAGM_BAD_ARGUMENT = 4,
    /// A buffer has the wrong size, or a scratch is not of this tagger.
    TAGM_BAD_LENGTH = 5,
    /// There is no such keyword, tag or id.
    TAGM_UNKNOWN = 6,
    /// A fault of the library; please report it.
    TAGM_FAULT = 7,
    /// A new version does not have the keywords and tags that the old one has; the old one stays.
    TAGM_OTHER_CONTRACT = 8,
    /// There is nothing to learn from these examples, or training them ran away.
    TAGM_UNTRAINABLE = 9,
    /// More than a model, a set or this machine's memory can hold.
    TAGM_TOO_LARGE = 10,
}

use tagm_status::{
    TAGM_BAD_ARGUMENT, TAGM_BAD_LENGTH, TAGM_BAD_MODEL, TAGM_FAULT, TAGM_IO, TAGM_NEWER_MODEL, TAGM_OK, TAGM_OTHER_CONTRACT,
    TAGM_TOO_LARGE, TAGM_UNKNOWN, TAGM_UNTRAINABLE,
};

thread_local! {
    /// Why the thread's last call that failed did so.
    static MESSAGE: RefCell<CString> = RefCell::default();
}

/// Why a call did not work.
pub(super) struct Failure {
    status: tagm_status,
    message: String,
}

pub(super) type Result<T> = std::result::Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::Io { .. } => TAGM_IO,
            Error::Model { .. } => TAGM_BAD_MODEL,
            Error::NewerModel { .. } => TAGM_NEWER_MODEL,
            Error::Length { .. } => TAGM_BAD_LENGTH,
            Error::KeywordOutOfRange { .. } => TAGM_UNKNOWN,
            Error::Contract { .. } => TAGM_OTHER_CONTRACT,
            Error::NoData { .. } | Error::UntrainableTag { .. } | Error::NonFinite { .. } => TAGM_UNTRAINABLE,
            Error::TooLarge { .. } => TAGM_TOO_LARGE,
            _ => TAGM_BAD_ARGUMENT,
        };
        Failure { status, message: error.to_string() }
    }
}

#[cfg(feature = "train")]
impl Failure {
    pub(super) fn argument(message: String) -> Self {
        Failure { status: TAGM_BAD_ARGUMENT, message }
    }
}

pub(super) fn failure<T>(status: tagm_status, message: impl Into<String>) -> Result<T> {
    Err(Failure { status, message: message.into() })
}

/// Runs a call: what it fails with becomes its status and the thread's message, a panic too.
pub(super) fn call(run: impl FnOnce() -> Result<tagm_status>) -> tagm_status {
    // What a call leaves half-done belongs to the caller, who is told that it failed.
    let result = catch_unwind(AssertUnwindSafe(run));
    let result = result.unwrap_or_else(|_| failure(TAGM_FAULT, "a fault of tagomatic itself; please report it"));
    result.unwrap_or_else(|Failure { status, message }| {
        let message = CString::new(message.replace('\0', "\\0")).unwrap_or_default();
        // Where a thread is ending its message is gone already: nobody can ask for it any more.
        let _ = MESSAGE.try_with(|kept| kept.replace(message));
        status
    })
}

/// A reference from C, which is absent where C gives NULL.
pub(super) fn given<T>(reference: Option<T>, name: &str) -> Result<T> {
    reference.map_or_else(|| failure(TAGM_BAD_ARGUMENT, format!("{name}: expected a pointer, found NULL")), Ok)
}

/// The `count` values that start where a pointer from C points to; of no values the pointer may be anything.
///
/// # Safety
/// It is NULL, or points to `count` values that live for `'a` and are not written to meanwhile.
pub(super) unsafe fn many<'a, T>(pointer: *const T, count: usize, name: &str) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    check_array(pointer, count, name)?;
    // SAFETY: not NULL, aligned, and of a size that an object can have; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) })
}

/// The `count` places that start where a pointer from C points to, set to zero; of no places the pointer may be anything.
///
/// # Safety
/// It is NULL, or points to `count` places that live for `'a` and that nothing else reads or writes meanwhile.
pub(super) unsafe fn places<'a, T: bytemuck::Zeroable>(pointer: *mut T, count: usize, name: &str) -> Result<&'a mut [T]> {
    if count == 0 {
        return Ok(&mut []);
    }
    check_array(pointer, count, name)?;
    // SAFETY: not NULL, aligned, and the caller promises the places. C may never have written to them: now they are a value of `T`.
    unsafe { pointer.write_bytes(0, count) };
    // SAFETY: as above, of a size that an object can have, and initialized by now.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, count) })
}

pub(super) fn check_array<T>(pointer: *const T, count: usize, name: &str) -> Result<()> {
    if pointer.is_null() || !pointer.is_aligned() {
        return failure(TAGM_BAD_ARGUMENT, format!("{name}: expected an aligned pointer, found {pointer:?}"));
    }
    match count.checked_mul(size_of::<T>()) {
        Some(bytes) if bytes <= isize::MAX.unsigned_abs() => Ok(()),
        _ => failure(TAGM_BAD_ARGUMENT, format!("{name}: expected a number of values that memory can hold, found {count}")),
    }
}

/// A zero-terminated path from C.
///
/// # Safety
/// It is NULL, or points to a zero-terminated string that lives for `'a`.
pub(super) unsafe fn path_of<'a>(pointer: *const c_char) -> Result<&'a std::path::Path> {
    check_array(pointer, 1, "path")?;
    // SAFETY: not NULL; the rest is the caller's promise.
    let text = unsafe { CStr::from_ptr(pointer) };
    #[cfg(unix)]
    let path = std::path::Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(text.to_bytes()));
    #[cfg(not(unix))]
    let path = match text.to_str() {
        Ok(text) => std::path::Path::new(text),
        Err(_) => return failure(TAGM_BAD_ARGUMENT, "path: expected UTF-8"),
    };
    Ok(path)
}

/// The place for a handle: NULL stands in it until there is one.
pub(super) type Place<'a, T> = Option<&'a mut MaybeUninit<Option<Box<T>>>>;

/// Hands a new object to C.
pub(super) fn hand_over<T>(place: Place<'_, T>, make: impl FnOnce() -> Result<T>) -> tagm_status {
    call(|| {
        let place = given(place, "the place for the handle")?.write(None);
        *place = Some(Box::new(make()?));
        Ok(TAGM_OK)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_message() -> *const c_char {
    MESSAGE.try_with(|message| message.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// Copies all values to the first places, or none.
pub(super) fn copy_out<T: Copy>(places: &mut [T], values: &[T], name: &str) -> Result<tagm_status> {
    let room = places.len();
    match places.get_mut(..values.len()) {
        Some(places) => places.copy_from_slice(values),
        None => return failure(TAGM_BAD_LENGTH, format!("{name}: expected room for {}, found {room}", values.len())),
    }
    Ok(TAGM_OK)
}
