//! Nothing but its test, `tests/ballista.rs`.
