//! Building plugins and test guests to WebAssembly.
//!
//! Afterwards the plugin folder in the target directory mirrors `plugins/`: one
//! component per plugin, named like the plugin's folder, and its manifest if it
//! has one. A host may be watching that folder, so files that did not change are
//! not touched and the others are replaced whole. What a guest does is not known
//! here.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::layout::Layout;
use crate::program::{cargo, run};
use crate::setup::HANDLER_TARGETS;

const COMPONENT_TARGET: &str = HANDLER_TARGETS[0];
const CORE_MODULE_TARGET: &str = HANDLER_TARGETS[1];

/// Test guests that are needed as core modules too: the host adapts those on load.
const ALSO_AS_CORE_MODULE: [&str; 1] = ["command"];

/// Builds everything under `plugins/` and `tests/guests/` and installs the plugins.
pub(crate) fn build(layout: &Layout) -> Result<()> {
    build_components(layout)?;
    let test_guests = find(&layout.test_guest_sources())?;
    let core_modules = test_guests.iter().filter(|guest| guest.is_needed_as_core_module());
    compile(layout, CORE_MODULE_TARGET, core_modules)
}

/// Builds what a host can load, without the core modules that only tests need. The
/// selection is the same as for the tests, so that one never undoes the other's work.
pub(crate) fn build_components(layout: &Layout) -> Result<()> {
    let plugins = find(&layout.plugin_sources())?;
    let test_guests = find(&layout.test_guest_sources())?;
    compile(layout, COMPONENT_TARGET, plugins.iter().chain(&test_guests))?;

    let folder = layout.plugins();
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut installed = BTreeSet::new();
    for plugin in &plugins {
        install(plugin, layout, &mut installed)?;
    }
    remove_others(&folder, &installed)?;
    eprintln!(
        "  {} plugins in {}, {} test guests",
        plugins.len(),
        layout.shown(&folder),
        test_guests.len()
    );
    Ok(())
}

/// The names of the plugins that ship with Bulkhead.
pub(crate) fn plugin_names(layout: &Layout) -> Result<Vec<String>> {
    Ok(find(&layout.plugin_sources())?.into_iter().map(|plugin| plugin.name).collect())
}

/// The folder of built components.
pub(crate) fn components(layout: &Layout) -> PathBuf {
    layout.guest_artifacts(COMPONENT_TARGET)
}

/// The built component of a test guest.
pub(crate) fn test_guest(layout: &Layout, name: &str) -> Result<PathBuf> {
    let guest = find(&layout.test_guest_sources())?.into_iter().find(|guest| guest.name == name);
    let guest = guest.with_context(|| format!("there is no test guest `{name}`"))?;
    Ok(layout.guest_artifacts(COMPONENT_TARGET).join(guest.artifact()))
}

/// A package that compiles to one WebAssembly file.
#[derive(Debug, PartialEq, Eq)]
struct Guest {
    /// Its folder's name, which is also the plugin's name.
    name: String,
    /// Its folder.
    folder: PathBuf,
    /// Its name for cargo.
    package: String,
    /// Whether it is a program (`wasi:cli/run`) and not a library.
    is_program: bool,
}

impl Guest {
    fn is_needed_as_core_module(&self) -> bool {
        ALSO_AS_CORE_MODULE.contains(&self.name.as_str())
    }

    /// The file that cargo builds: it keeps the hyphens of programs only.
    fn artifact(&self) -> String {
        let stem =
            if self.is_program { self.package.clone() } else { self.package.replace('-', "_") };
        format!("{stem}.wasm")
    }

    fn manifest(&self) -> PathBuf {
        self.folder.join(format!("{}.toml", self.name))
    }
}

/// The guests in the subfolders of `sources`, by name; none if there is no such folder.
fn find(sources: &Path) -> Result<Vec<Guest>> {
    if !sources.is_dir() {
        return Ok(Vec::new());
    }
    let mut guests = Vec::new();
    for entry in read_folder(sources)? {
        let folder = sources.join(&entry);
        let cargo_manifest = folder.join("Cargo.toml");
        if !cargo_manifest.is_file() {
            continue;
        }
        let text = read(&cargo_manifest)?;
        let text = String::from_utf8_lossy(&text);
        let package = package_name(&text)
            .with_context(|| format!("{} has no package name", cargo_manifest.display()))?;
        guests.push(Guest {
            name: entry.to_string_lossy().into_owned(),
            is_program: folder.join("src").join("main.rs").is_file(),
            package: package.to_owned(),
            folder,
        });
    }
    guests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(guests)
}

/// The `name` in the `[package]` table of a `Cargo.toml`. Our own manifests are
/// plain enough to be read by line, which saves this crate a parser.
fn package_name(manifest: &str) -> Option<&str> {
    let (_, package) = manifest.split_once("[package]")?;
    package.lines().take_while(|line| !line.starts_with('[')).find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "name").then(|| value.trim().trim_matches('"'))
    })
}

fn compile<'a>(
    layout: &Layout,
    target: &str,
    guests: impl Iterator<Item = &'a Guest>,
) -> Result<()> {
    let packages: Vec<_> = guests.map(|guest| guest.package.as_str()).collect();
    // Without a package cargo would build the whole workspace.
    if packages.is_empty() {
        return Ok(());
    }
    run(&mut cargo(layout.root(), build_arguments(target, &packages)))
}

fn build_arguments<'a>(target: &'a str, packages: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["build", "--profile", "guest", "--target", target];
    arguments.extend(packages.iter().flat_map(|package| ["--package", package]));
    arguments
}

fn install(plugin: &Guest, layout: &Layout, installed: &mut BTreeSet<OsString>) -> Result<()> {
    let built = layout.guest_artifacts(COMPONENT_TARGET).join(plugin.artifact());
    ensure!(
        built.is_file(),
        "{} was not built: `{}` must be a program or have `crate-type = [\"cdylib\", \"rlib\"]`",
        built.display(),
        plugin.package
    );
    let folder = layout.plugins();
    // The manifest first: a host that sees the component must find its grants.
    let manifest = plugin.manifest();
    if manifest.is_file() {
        let name = format!("{}.toml", plugin.name);
        replace(&manifest, &folder.join(&name))?;
        installed.insert(name.into());
    }
    let name = format!("{}.wasm", plugin.name);
    replace(&built, &folder.join(&name))?;
    installed.insert(name.into());
    Ok(())
}

/// Makes `to` the same as `from`; tells whether it had to be written.
fn replace(from: &Path, to: &Path) -> Result<bool> {
    let bytes = read(from)?;
    if fs::read(to).is_ok_and(|present| present == bytes) {
        return Ok(false);
    }
    // Not `.wasm`: a watching host must not take the unfinished file for a plugin.
    let unfinished = to.with_extension("unfinished");
    fs::write(&unfinished, bytes)
        .and_then(|()| fs::rename(&unfinished, to))
        .with_context(|| format!("cannot write {}", to.display()))?;
    Ok(true)
}

/// Removes the files of plugins that no longer exist, which a host would still load.
fn remove_others(folder: &Path, installed: &BTreeSet<OsString>) -> Result<()> {
    for name in read_folder(folder)? {
        let path = folder.join(&name);
        if is_plugin_file(&path) && !installed.contains(&name) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn is_plugin_file(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    matches!(extension, Some("wasm" | "toml" | "unfinished")) && path.is_file()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn read_folder(folder: &Path) -> Result<Vec<OsString>> {
    fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
        .with_context(|| format!("cannot list {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(package: &str, is_program: bool) -> Guest {
        Guest {
            name: "csv-report".into(),
            folder: "/src/plugins/csv-report".into(),
            package: package.into(),
            is_program,
        }
    }

    #[test]
    fn the_package_name_is_read_from_its_table() {
        let name = package_name;
        assert_eq!(name("[package]\nname = \"csv-report\"\n"), Some("csv-report"));
        assert_eq!(name("# x\n\n[package]\nedition = \"2024\"\nname=\"a\"\n[lib]"), Some("a"));
        assert_eq!(name("[package]\nedition = \"2024\"\n[lib]\nname = \"not_this\"\n"), None);
        assert_eq!(name("[workspace]\nname = \"none\"\n"), None);
    }

    #[test]
    fn libraries_lose_their_hyphens_and_programs_keep_them() {
        assert_eq!(guest("csv-report", false).artifact(), "csv_report.wasm");
        assert_eq!(guest("csv-report", true).artifact(), "csv-report.wasm");
    }

    #[test]
    fn the_manifest_is_named_like_the_plugin() {
        let manifest = guest("anything", false).manifest();
        assert_eq!(manifest, Path::new("/src/plugins/csv-report/csv-report.toml"));
    }

    #[test]
    fn one_cargo_call_builds_all_packages() {
        assert_eq!(
            build_arguments("wasm32-wasip2", &["a", "b"]).join(" "),
            "build --profile guest --target wasm32-wasip2 --package a --package b"
        );
    }

    #[test]
    fn guests_are_folders_with_a_package() {
        let sources = tempfile::tempdir().unwrap();
        let add = |path: &str, text: &str| {
            let path = sources.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        add("zip/Cargo.toml", "[package]\nname = \"guest-zip\"\n");
        add("command/Cargo.toml", "[package]\nname = \"guest-command\"\n");
        add("command/src/main.rs", "fn main() {}");
        add("notes/README.md", "no package");
        add("README.md", "not a folder");

        let found = find(sources.path()).unwrap();
        let seen: Vec<_> = found
            .iter()
            .map(|g| (g.package.as_str(), g.is_program, g.is_needed_as_core_module()))
            .collect();
        assert_eq!(seen, [("guest-command", true, true), ("guest-zip", false, false)]);
    }

    #[test]
    fn a_package_without_a_name_is_an_error_that_names_the_file() {
        let sources = tempfile::tempdir().unwrap();
        fs::create_dir(sources.path().join("odd")).unwrap();
        fs::write(sources.path().join("odd/Cargo.toml"), "[lib]\n").unwrap();
        let error = find(sources.path()).unwrap_err().to_string();
        assert!(error.contains("odd/Cargo.toml"), "{error}");
        assert!(find(&sources.path().join("missing")).unwrap().is_empty());
    }

    #[test]
    fn the_plugin_folder_mirrors_the_plugins() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(Some(root.path().into()));
        let plugin = Guest { folder: root.path().into(), ..guest("csv-report", false) };
        let built = layout.guest_artifacts(COMPONENT_TARGET);
        fs::create_dir_all(&built).unwrap();
        fs::create_dir_all(layout.plugins()).unwrap();
        fs::write(built.join("csv_report.wasm"), "component").unwrap();
        fs::write(plugin.manifest(), "manifest").unwrap();
        for stale in ["gone.wasm", "gone.toml", "csv-report.unfinished", "keep.txt"] {
            fs::write(layout.plugins().join(stale), "").unwrap();
        }

        let mut installed = BTreeSet::new();
        install(&plugin, &layout, &mut installed).unwrap();
        remove_others(&layout.plugins(), &installed).unwrap();

        let mut files = read_folder(&layout.plugins()).unwrap();
        files.sort();
        assert_eq!(files, ["csv-report.toml", "csv-report.wasm", "keep.txt"]);
        let component = fs::read(layout.plugins().join("csv-report.wasm")).unwrap();
        assert_eq!(component, b"component");
    }

    #[test]
    fn a_plugin_that_built_no_component_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(Some(root.path().into()));
        let error = install(&guest("csv-report", false), &layout, &mut BTreeSet::new());
        assert!(error.unwrap_err().to_string().contains("cdylib"));
    }

    #[test]
    fn an_unchanged_file_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from.wasm"), folder.path().join("to.wasm"));
        fs::write(&from, "one").unwrap();
        assert!(replace(&from, &to).unwrap());
        assert!(!replace(&from, &to).unwrap());
        fs::write(&from, "two").unwrap();
        assert!(replace(&from, &to).unwrap());
        assert_eq!(fs::read(&to).unwrap(), b"two");
        assert!(!to.with_extension("unfinished").exists());
    }
}
