//! The parts of WASI 0.2 that every plugin has, each interface linked by itself.
//! `capability` says why.

use wasmtime::component::{HasData, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::p2::bindings::cli;
use wasmtime_wasi_io::bindings::wasi::io;

use super::{Capability, CapabilitySet, Interface, Standing};
use crate::compartment::Compartment;
use crate::grants::Grants;

pub(super) const CAPABILITY: Capability = Capability {
    grant: None,
    line: "",
    interfaces: &[
        Interface { name: "wasi:io/error", version: "0.2", link: Some(io_error) },
        Interface { name: "wasi:io/poll", version: "0.2", link: Some(io_poll) },
        Interface { name: "wasi:io/streams", version: "0.2", link: Some(io_streams) },
        Interface { name: "wasi:cli/environment", version: "0.2", link: Some(environment) },
        Interface { name: "wasi:cli/exit", version: "0.2", link: Some(exit) },
        Interface { name: "wasi:cli/stdin", version: "0.2", link: Some(stdin) },
        Interface { name: "wasi:cli/stdout", version: "0.2", link: Some(stdout) },
        Interface { name: "wasi:cli/stderr", version: "0.2", link: Some(stderr) },
        Interface { name: "wasi:cli/terminal-input", version: "0.2", link: Some(terminal_input) },
        Interface { name: "wasi:cli/terminal-output", version: "0.2", link: Some(terminal_output) },
        Interface { name: "wasi:cli/terminal-stdin", version: "0.2", link: Some(terminal_stdin) },
        Interface { name: "wasi:cli/terminal-stdout", version: "0.2", link: Some(terminal_stdout) },
        Interface { name: "wasi:cli/terminal-stderr", version: "0.2", link: Some(terminal_stderr) },
    ],
    standing,
};

fn standing(_: &Grants, _: CapabilitySet) -> Standing {
    Standing::Default
}

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

links! {
    io_error => io::error, Table, Compartment::table;
    io_poll => io::poll, Table, Compartment::table;
    io_streams => io::streams, Table, Compartment::table;
    environment => cli::environment, WasiCli, Compartment::cli;
    exit => cli::exit, WasiCli, Compartment::cli;
    stdin => cli::stdin, WasiCli, Compartment::cli;
    stdout => cli::stdout, WasiCli, Compartment::cli;
    stderr => cli::stderr, WasiCli, Compartment::cli;
    terminal_input => cli::terminal_input, WasiCli, Compartment::cli;
    terminal_output => cli::terminal_output, WasiCli, Compartment::cli;
    terminal_stdin => cli::terminal_stdin, WasiCli, Compartment::cli;
    terminal_stdout => cli::terminal_stdout, WasiCli, Compartment::cli;
    terminal_stderr => cli::terminal_stderr, WasiCli, Compartment::cli;
}
