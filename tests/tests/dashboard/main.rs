//! The dashboard of a real host, used in a real browser.
//!
//! Every tab fails its test if the page logs an error, throws, or breaks its own policy.

mod stand;

mod access;
mod actions;
mod hostile;
mod keyboard;
mod live;
mod long_lists;
mod modules;
mod pages;
mod pictures;
mod roles;
