//! A handler that opens a TCP connection. Its component imports `wasi:sockets`, so
//! a host that did not grant the network refuses it when it is loaded.

use std::net::TcpStream;

use bulkhead_guest::prelude::*;

plugin!(connect);

/// Connects to the address in the payload, such as `127.0.0.1:1`, and returns
/// `connected` or the kind of the error.
#[handler]
fn connect(address: String) -> String {
    match TcpStream::connect(address.trim()) {
        Ok(_) => "connected".to_owned(),
        Err(error) => format!("{:?}: {error}", error.kind()),
    }
}
