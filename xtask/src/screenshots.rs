//! Pictures of the dashboard: the test that takes them runs, then they are copied into the
//! documents.
//!
//! Test runs alone leave them below `target`, so that they change no file of the checkout.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::guests;
use crate::layout::Layout;
use crate::program::{cargo, run};
use crate::setup;

/// The test that takes them.
const TEST: &str = "pictures::pictures_of_a_host_at_work";

pub(crate) fn take(layout: &Layout) -> Result<()> {
    setup::install(layout)?;
    guests::build(layout)?;
    // Of the whole workspace and with its tests: another set would have other features.
    let host = ["build", "--workspace", "--bin", "bulkhead", "--test", "dashboard"];
    run(&mut cargo(layout.root(), host))?;
    let arguments = ["test", "--workspace", "--test", "dashboard", "--", "--exact", TEST];
    run(&mut cargo(layout.root(), arguments))?;
    let from = layout.dashboard_pictures();
    let mut copied = 0;
    for entry in fs::read_dir(&from).with_context(|| format!("cannot read {}", from.display()))? {
        let picture = entry?.path();
        let Some(name) = picture.file_name() else { continue };
        let to = layout.pictures().join(name);
        fs::copy(&picture, &to).with_context(|| format!("cannot write {}", to.display()))?;
        setup::say(&layout.shown(&to).to_string(), "taken");
        copied += 1;
    }
    ensure!(copied > 0, "{} holds no picture", from.display());
    Ok(())
}
