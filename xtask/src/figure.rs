//! `cargo xtask figure`: draws what the documents show of the autoscaler.
//!
//! The simulation is a program of its own in `benches`; this builds it and says where the picture
//! goes.

use anyhow::Result;

use crate::layout::Layout;
use crate::program::{cargo, run};

/// Draws the picture anew. The same sources give the same bytes.
pub(crate) fn draw(layout: &Layout) -> Result<()> {
    let picture = layout.autoscaler_picture().display().to_string();
    let program = ["run", "--package", "bulkhead-benches", "--bin", "bulkhead-autoscaler"];
    run(&mut cargo(layout.root(), program.iter().copied().chain(["--", "--into", &picture])))
}
