//! Who asks: tokens, and the guard that turns them into callers.

mod caller;
mod guard;
mod rate;
mod token;

pub use caller::{Caller, Scope};
pub use guard::{Anonymous, Guard, GuardOptions, Peer};
pub use token::{NewToken, Token, TokenId, Tokens};
