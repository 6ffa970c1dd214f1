#![doc = include_str!("guide.md")]

pub mod coming_from {
    #![doc = include_str!("coming_from.md")]
}
