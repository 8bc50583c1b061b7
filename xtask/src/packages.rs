//! Programs that a distribution packages: looked for first, then installed.
//!
//! What is there already is left alone and needs no network. Nothing that a package would
//! start is started.

use std::fmt;
use std::io;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::program::{ask, run};
use crate::setup::say;

/// The servers that tests and the demo start for themselves.
pub(crate) const REDIS: Package = Package {
    program: "redis-server",
    question: &["redis-server", "--version"],
    packages: &["redis-server"],
    oldest: Version { major: 6, minor: 2 },
};
pub(crate) const VALKEY: Package = Package {
    program: "valkey-server",
    question: &["valkey-server", "--version"],
    packages: &["valkey-server"],
    oldest: Version { major: 8, minor: 0 },
};

/// The languages of the example producers.
pub(crate) const PYTHON: Package = Package {
    program: "python3 with venv",
    // Debian packages `ensurepip` apart, without which a venv cannot be made.
    question: &["python3", "-c", "import ensurepip, sys, venv; print(sys.version)"],
    packages: &["python3", "python3-venv"],
    oldest: Version { major: 3, minor: 9 },
};
pub(crate) const NODE: Package = Package {
    program: "node",
    question: &["node", "--version"],
    packages: &["nodejs"],
    oldest: Version { major: 18, minor: 0 },
};
pub(crate) const NPM: Package = Package {
    program: "npm",
    question: &["npm", "--version"],
    packages: &["npm"],
    oldest: Version { major: 8, minor: 0 },
};

/// The browser in which the dashboard is tested. Older ones do not know all of its style sheets.
pub(crate) const CHROMIUM: Package = Package {
    program: "chromium",
    question: &["chromium", "--version"],
    packages: &["chromium"],
    oldest: Version { major: 123, minor: 0 },
};

/// Installs Debian packages without letting them start anything: both init systems ask
/// `policy-rc.d`, where 101 means no. One that somebody else put there stays as it is. What
/// the release does not have comes from its backports, which are taken from wherever the
/// release itself comes from and forgotten afterwards.
const APT_INSTALL: &str = "
set -eu
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
policy=/usr/sbin/policy-rc.d
backports=/etc/apt/sources.list.d/bulkhead-backports.list
created=
trap 'rm -f $created' EXIT
trap 'exit 130' INT TERM
apt-get update
for package in \"$@\"; do
    if [ ! -e $backports ] && [ -z \"$(apt-cache madison \"$package\")\" ]; then
        . /etc/os-release
        from=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
            while read -r uri release; do
                if [ \"$release\" = \"$VERSION_CODENAME\" ]; then echo \"$uri\"; break; fi
            done)
        keyring=/usr/share/keyrings/debian-archive-keyring.gpg
        if [ -e $keyring ]; then signed=\"[signed-by=$keyring] \"; else signed=; fi
        created=\"$created $backports\"
        echo \"deb $signed$from $VERSION_CODENAME-backports main\" > $backports
        apt-get update
    fi
done
if [ ! -e $policy ]; then
    created=\"$created $policy\"
    printf '#!/bin/sh\\nexit 101\\n' > $policy
    chmod 755 $policy
fi
apt-get install -y --no-install-recommends \"$@\"
";

/// A program and the packages it comes in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Package {
    program: &'static str,
    /// The command that prints its version.
    question: &'static [&'static str],
    packages: &'static [&'static str],
    oldest: Version,
}

impl Package {
    /// Makes sure that it is installed and new enough.
    pub(crate) fn ensure(self) -> Result<()> {
        let Self { program, packages, .. } = self;
        if let Some(version) = self.version()? {
            say(program, &format!("found {version}"));
            return Ok(());
        }
        let machine = Machine {
            has_apt: ask(Command::new("apt-get").arg("--version")).is_some(),
            is_root: ask(Command::new("id").arg("-u")).as_deref() == Some("0"),
            has_sudo: ask(Command::new("sudo").arg("-V")).is_some(),
        };
        let [installer, arguments @ ..] = &self.installation(machine)?[..] else {
            bail!("there is nothing to run");
        };
        say(program, "not found, installing the distribution's package");
        // An installer's chatter is no result: commands that print results call this too.
        run(Command::new(installer).args(arguments).stdout(io::stderr())).with_context(|| {
            format!(
                "cannot install {} from the distribution or its backports; install it by hand",
                packages.join(" ")
            )
        })?;
        let version = self
            .version()?
            .with_context(|| format!("`{program}` is missing although it was installed"))?;
        say(program, &format!("installed {version}, not started"));
        Ok(())
    }

    fn version(self) -> Result<Option<Version>> {
        let [program, arguments @ ..] = self.question else { return Ok(None) };
        let Some(printed) = ask(Command::new(program).args(arguments)) else { return Ok(None) };
        let version = Version::parse(&printed).with_context(|| {
            format!("`{}` says nothing of a version: {printed}", self.question.join(" "))
        })?;
        ensure!(
            version >= self.oldest,
            "`{}` is {version}, but {} or newer is needed: upgrade it",
            self.program,
            self.oldest
        );
        Ok(Some(version))
    }

    /// The program and arguments that install it on `machine`.
    fn installation(self, machine: Machine) -> Result<Vec<&'static str>> {
        let Self { program, packages, oldest, .. } = self;
        ensure!(
            machine.has_apt,
            "`{program}` is missing and there is no `apt-get` to install it with: install \
             version {oldest} or newer so that it is on the PATH, then run this again"
        );
        let script = [&["sh", "-c", APT_INSTALL, "sh"], packages].concat();
        match machine {
            Machine { is_root: true, .. } => Ok(script),
            Machine { has_sudo: true, .. } => Ok([vec!["sudo"], script].concat()),
            _ => bail!(
                "`{program}` is missing, and installing it takes root or sudo: run `apt-get \
                 install {}` as root, then run this again",
                packages.join(" ")
            ),
        }
    }
}

/// What the choice of installation depends on.
#[derive(Debug, Clone, Copy)]
struct Machine {
    has_apt: bool,
    is_root: bool,
    has_sudo: bool,
}

/// A program's version: the first two numbers matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: u32,
    minor: u32,
}

impl Version {
    /// Reads the first word that is a version: `7.0.15`, `v20.1.0` or `v=7.0.15`.
    fn parse(printed: &str) -> Option<Self> {
        printed.split_whitespace().find_map(|word| {
            let word = word.strip_prefix('v').unwrap_or(word);
            let mut numbers = word.strip_prefix('=').unwrap_or(word).split('.');
            let mut number = || numbers.next()?.parse().ok();
            Some(Self { major: number()?, minor: number()? })
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_programs_print() {
        let at = |major, minor| Some(Version { major, minor });
        for (printed, version) in [
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", at(7, 0)),
            ("Valkey server v=8.1.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", at(8, 1)),
            ("v20.20.2", at(20, 20)),
            ("3.11.7 (main, Jan 1 2024) [GCC 12]", at(3, 11)),
            ("Redis server", None),
            ("v=7", None),
            ("v=seven.zero", None),
        ] {
            assert_eq!(Version::parse(printed), version, "{printed}");
        }
    }

    #[test]
    fn versions_compare_by_number() {
        let at = |major, minor| Version { major, minor };
        assert!(at(6, 0) < REDIS.oldest);
        assert!(at(6, 10) > REDIS.oldest);
        assert!(at(7, 0) > REDIS.oldest);
    }

    #[test]
    fn root_installs_directly_and_others_by_sudo() {
        let root = Machine { has_apt: true, is_root: true, has_sudo: true };
        let installation = PYTHON.installation(root).unwrap();
        assert_eq!(installation[..2], ["sh", "-c"]);
        assert_eq!(installation[4..], ["python3", "python3-venv"]);
        let user = Machine { is_root: false, ..root };
        assert_eq!(REDIS.installation(user).unwrap()[..3], ["sudo", "sh", "-c"]);
    }

    #[test]
    fn a_machine_that_cannot_install_is_told_what_to_do() {
        let bare = Machine { has_apt: false, is_root: true, has_sudo: false };
        let error = REDIS.installation(bare).unwrap_err().to_string();
        assert!(error.contains("no `apt-get`") && error.contains("6.2"), "{error}");
        let powerless = Machine { has_apt: true, is_root: false, has_sudo: false };
        let error = VALKEY.installation(powerless).unwrap_err().to_string();
        assert!(error.contains("as root"), "{error}");
    }

    #[test]
    fn the_installation_is_a_valid_script() {
        assert!(ask(Command::new("sh").args(["-n", "-c", APT_INSTALL])).is_some());
    }
}
