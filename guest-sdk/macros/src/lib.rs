//! The `#[handler]` attribute of `bulkhead-guest`.
//!
//! It reads the attribute's options and the function's signature, refuses what
//! cannot be a handler with a message at the right place, and puts a registration
//! beside the function, which itself stays as it was written. How input is decoded
//! and output encoded is decided by types in `bulkhead-guest`, not here.

use proc_macro::TokenStream;

mod expansion;
mod options;
mod quantity;
mod signature;
mod waits;

/// Make a function the handler of a task type.
///
/// The documentation of this attribute is at `bulkhead_guest::handler`.
#[proc_macro_attribute]
pub fn handler(options: TokenStream, function: TokenStream) -> TokenStream {
    expansion::expand(options.into(), function.into()).into()
}
