//! WASI 0.2, each interface linked by itself. `capability` says which and why.

use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random as rng};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi_io::bindings::wasi::io;

use crate::compartment::Compartment;

type Linked = wasmtime::Result<()>;

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

macro_rules! link {
    ($($name:ident => $interface:path, $data:ty, $view:expr;)*) => {$(
        pub(super) fn $name(linker: &mut Linker<Compartment>) -> Linked {
            use $interface as interface;
            interface::add_to_linker::<Compartment, $data>(linker, $view)
        }
    )*};
}

link! {
    io_error => io::error, Table, Compartment::table;
    io_poll => io::poll, Table, Compartment::table;
    io_streams => io::streams, Table, Compartment::table;
    monotonic_clock => clocks::monotonic_clock, WasiClocks, Compartment::clocks;
    wall_clock => clocks::wall_clock, WasiClocks, Compartment::clocks;
    random => rng::random, WasiRandom, |compartment| compartment.ctx().ctx.random();
    insecure_random => rng::insecure, WasiRandom, |compartment| compartment.ctx().ctx.random();
    insecure_seed => rng::insecure_seed, WasiRandom, |compartment| compartment.ctx().ctx.random();
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
    filesystem_types => filesystem::types, WasiFilesystem, Compartment::filesystem;
    filesystem_preopens => filesystem::preopens, WasiFilesystem, Compartment::filesystem;
}
