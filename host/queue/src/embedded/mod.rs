//! The embedded broker.
pub mod machine;
