//! Enums whose variants have a name that people type and files store.

/// Gives an enum of plain variants `ALL`, `name`, `Display` and `FromStr`; `$option` is what an unknown name is reported for.
macro_rules! named {
    ($type:ty, $option:literal, $expected:literal, { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            /// All variants, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name, as `from_str` reads it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::error::Error;

            fn from_str(name: &str) -> $crate::error::Result<Self> {
                Self::ALL.iter().copied().find(|variant| variant.name() == name).ok_or_else(|| {
                    $crate::error::Error::Config { option: $option, expected: $expected, found: format!("{name:?}") }
                })
            }
        }
    };
}

pub(crate) use named;
