//! The gallery: hostile guests, the promise that each attacks, and what must come of it.
//!
//! One table ([`BEHAVIOURS`]) serves the test that holds every behaviour to its outcome and the
//! command that measures it (`cargo xtask attack`). Guests are Rust crates and text under
//! `tests/guests`; text becomes a component when it is needed. The host is the real binary on a
//! Redis server of its own. Nothing here knows how the host keeps its promises.

mod behaviour;
mod behaviours;
mod flood;
mod measure;
mod rig;
mod server;
mod table;
mod text;

pub use behaviour::{Behaviour, Expected, Guest};
pub use behaviours::BEHAVIOURS;
pub use flood::{FLOODS, Flood, flooded};
pub use measure::{Measured, Waits, measure};
pub use rig::{Rig, Seen};
pub use table::{replace_between_markers, rows};
pub use text::component;
