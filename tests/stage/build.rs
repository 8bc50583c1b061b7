//! Compiles the clock and the disk that a test's Redis server has instead of the machine's.

use std::path::Path;
use std::process::Command;

fn main() {
    let out = std::env::var("OUT_DIR").expect("cargo names the folder for output");
    for (source, variable) in
        [("src/clock.c", "STAGE_CLOCK_LIBRARY"), ("src/disk.c", "STAGE_DISK_LIBRARY")]
    {
        println!("cargo::rerun-if-changed={source}");
        let library = Path::new(&out).join(format!("lib{}.so", variable.to_lowercase()));
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", source, "-o"])
            .arg(&library)
            .status()
            .expect("a C compiler as `cc`, which the build needs anyway");
        assert!(status.success(), "{source} does not compile");
        println!("cargo::rustc-env={variable}={}", library.display());
    }
}
