//! `cargo xtask image`: builds the image and holds it against what its first lines promise.
//!
//! The container runs as it is documented: nothing to write but volumes, no capability, no way
//! to reach the network. Whatever becomes of the checks, it is gone afterwards.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::guests;
use crate::layout::Layout;
use crate::program::{ask, printed, run};
use crate::setup::say;

const TAG: &str = "bulkhead";

/// The container's own user, as the Dockerfile sets it.
const USER: &str = "65532:65532";

/// Longer than a host's grace, as `deploy/README.md` asks of whoever stops one.
const PATIENCE_SECONDS: &str = "60";

/// Where the host is told to keep its queue: a volume of the image.
const BROKER: &str = "--broker=embedded:/data";

/// Builds the image, has it do a task and stops it.
pub(crate) fn check(layout: &Layout) -> Result<()> {
    let version = ask(docker().args(["version", "--format", "{{.Server.Version}}"]));
    let version = version.context("no docker daemon answers; `docker version` says why")?;
    say("docker", &version);
    guests::build(layout)?;
    let build =
        ["build", "--network=host", "--tag", TAG, "--file", "deploy/docker/Dockerfile", "."];
    run(docker().args(build).current_dir(layout.root()))?;
    let size = told(&["image", "inspect", "--format={{.Size}}", TAG])?;
    say("image", &format!("{size} bytes"));

    let host = Container::start(layout)?;
    ensure!(told(&["exec", &host.id, "/bulkhead", "--version"])?.starts_with("bulkhead "));
    ensure!(
        ask(docker().args(["exec", &host.id, "/bin/sh", "-c", "true"])).is_none(),
        "there is a shell in the image"
    );
    let uses =
        told(&["inspect", "--format={{.Config.User}} {{.HostConfig.ReadonlyRootfs}}", &host.id])?;
    ensure!(uses == format!("{USER} true"), "the container is set up as `{uses}`");
    let submit = ["submit", "text-stats", "--data", "one two three", "--wait", BROKER];
    let done = told(&[&["exec", &host.id, "/bulkhead"], &submit[..]].concat())?;
    ensure!(done.contains(r#""words":3"#), "the task gave `{done}`");
    say("a task in it", "completed");
    host.stop()
}

fn docker() -> Command {
    Command::new("docker")
}

fn told(arguments: &[&str]) -> Result<String> {
    let said = printed(docker().args(arguments))?;
    Ok(String::from_utf8_lossy(&said).trim().to_owned())
}

/// A host that runs.
struct Container {
    id: String,
}

impl Container {
    fn start(layout: &Layout) -> Result<Self> {
        let plugins = format!("{}:/plugins:ro", layout.plugins().display());
        let hardened = ["--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--network=none"];
        let start = ["--security-opt=no-new-privileges", "--volume", &plugins, TAG, "run", BROKER];
        let id = told(&[&["run", "--detach"], &hardened[..], &start[..]].concat())?;
        Ok(Self { id })
    }

    /// Ends it by SIGTERM, as an orchestrator does.
    fn stop(self) -> Result<()> {
        told(&["stop", "-t", PATIENCE_SECONDS, &self.id])?;
        let code = told(&["inspect", "--format={{.State.ExitCode}}", &self.id])?;
        ensure!(code == "0", "the host ended with {code} at SIGTERM");
        say("SIGTERM", "drained, exit code 0");
        Ok(())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let mut remove = docker();
        remove.args(["rm", "--force", "--volumes", &self.id]);
        if ask(&mut remove).is_none() {
            say("container", &format!("{} may be left over", self.id));
        }
    }
}
