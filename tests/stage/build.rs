//! Compiles the clock that a test's Redis server reads instead of the machine's.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/clock.c");
    let out = std::env::var("OUT_DIR").expect("cargo names the folder for output");
    let library = Path::new(&out).join("libstageclock.so");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "src/clock.c", "-o"])
        .arg(&library)
        .status()
        .expect("a C compiler as `cc`, which the build needs anyway");
    assert!(status.success(), "src/clock.c does not compile");
    println!("cargo::rustc-env=STAGE_CLOCK_LIBRARY={}", library.display());
}
