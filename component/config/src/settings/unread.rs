//! Names that are not used.

use super::Shape;
use super::kinds::{Description, ValueType};

/// A name that is not used.
pub(crate) struct Leaf;

/// A name that is not used, and all names below it. The documentation names
/// these.
pub(crate) struct Tree(pub(crate) &'static [&'static str]);

/// All names below one, which are not used. The documentation names these.
pub(crate) struct Below(pub(crate) &'static [&'static str]);

/// Nothing is read from a name that is not used.
macro_rules! unread {
    ($kind:ty, $shape:expr, $names:expr) => {
        impl ValueType for $kind {
            type Value = ();

            const SHAPE: Shape = $shape;

            fn default(&self) {}

            fn parse(&self, _: &str) -> Result<(), String> {
                Ok(())
            }

            fn describe(&self) -> Description {
                let names: fn(&Self) -> &'static [&'static str] = $names;
                Description { names: names(self), ..Description::default() }
            }
        }
    };
}

unread!(Leaf, Shape::One, |_| &[]);
unread!(Tree, Shape::Tree, |tree| tree.0);
unread!(Below, Shape::Below, |below| below.0);
