//! The real work that the demo gives to the plugins: every sample file of every
//! plugin, and the documents of this repository.
//!
//! A plugin without samples is an error, so that none is left out of the demo.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::layout::Layout;

/// Metadata that asks a handler for something.
type Wishes = &'static [(&'static str, &'static str)];

/// One file for one handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Errand {
    /// The task type, which is the plugin's name.
    pub(super) task_type: String,
    /// What the output file is called, without its extension.
    pub(super) name: String,
    /// The input.
    pub(super) file: PathBuf,
    wishes: Wishes,
}

impl Errand {
    /// The errand as a line of JSON Lines.
    pub(super) fn line(&self) -> Result<Value> {
        let bytes =
            fs::read(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
        let metadata: serde_json::Map<_, _> =
            self.wishes.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        Ok(json!({
            "type": self.task_type,
            "payload_base64": STANDARD.encode(bytes),
            "content_type": content_type(&self.file),
            "metadata": metadata,
        }))
    }
}

/// What to ask each handler for, and how that shows in the output's name.
fn variants(plugin: &str) -> &'static [(&'static str, Wishes)] {
    match plugin {
        "thumbnail" => &[
            ("-64", &[("width", "64"), ("height", "64"), ("fit", "cover")]),
            ("-160", &[("width", "160"), ("height", "160")]),
            ("-320", &[("width", "320"), ("height", "320"), ("format", "webp")]),
        ],
        "markdown" => &[("", &[("layout", "page")])],
        _ => &[("", &[])],
    }
}

fn content_type(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("md") => "text/markdown; charset=utf-8",
        Some("txt") => "text/plain; charset=utf-8",
        Some("csv") => "text/csv",
        Some("json") => "application/json",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        _ => "application/octet-stream",
    }
}

/// The errands for `plugins`, in their order.
pub(super) fn plan(layout: &Layout, plugins: &[String]) -> Result<Vec<Errand>> {
    let mut errands = Vec::new();
    for plugin in plugins {
        let folder = samples(layout, plugin);
        let mut files = files(&folder)?;
        ensure!(
            !files.is_empty(),
            "the plugin `{plugin}` has no samples: put at least one into {}",
            layout.shown(&folder)
        );
        if plugin == "markdown" {
            files.extend(documents(layout)?);
        }
        for file in files {
            for (suffix, wishes) in variants(plugin) {
                let name = format!("{}{suffix}", output_name(layout, &file));
                errands.push(Errand {
                    task_type: plugin.clone(),
                    name,
                    file: file.clone(),
                    wishes,
                });
            }
        }
    }
    Ok(errands)
}

/// The folder of a plugin's sample input.
pub(super) fn samples(layout: &Layout, plugin: &str) -> PathBuf {
    layout.plugin_sources().join(plugin).join("samples")
}

/// The repository's own documents, as far as they exist.
fn documents(layout: &Layout) -> Result<Vec<PathBuf>> {
    let named = [layout.root().join("README.md"), layout.plugin_sources().join("README.md")];
    let mut documents: Vec<_> = named.into_iter().filter(|file| file.is_file()).collect();
    let folder = layout.root().join("docs");
    if folder.is_dir() {
        let is_markdown = |file: &PathBuf| file.extension().is_some_and(|e| e == "md");
        documents.extend(files(&folder)?.into_iter().filter(is_markdown));
    }
    Ok(documents)
}

/// The files in `folder` by name; none if there is no such folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>())
        .with_context(|| format!("cannot list {}", folder.display()))?;
    files.retain(|file| file.is_file());
    files.sort();
    Ok(files)
}

/// The stem of a sample; of a document also the folder that it is in.
fn output_name(layout: &Layout, file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folder = file.parent().unwrap_or(file);
    match folder.strip_prefix(layout.root()) {
        Ok(inside) if !inside.ends_with("samples") && inside != Path::new("") => {
            format!("{}-{stem}", inside.display().to_string().replace('/', "-"))
        }
        _ => stem,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn plan_all() -> Vec<Errand> {
        let layout = Layout::new(None);
        plan(&layout, &crate::guests::plugin_names(&layout).unwrap()).unwrap()
    }

    #[test]
    fn every_plugin_gets_work_and_every_output_a_name_of_its_own() {
        let errands = plan_all();
        let layout = Layout::new(None);
        for plugin in crate::guests::plugin_names(&layout).unwrap() {
            assert!(errands.iter().any(|errand| errand.task_type == plugin), "{plugin}");
        }
        let names: BTreeSet<_> = errands.iter().map(|e| (&e.task_type, &e.name)).collect();
        assert_eq!(names.len(), errands.len());
    }

    #[test]
    fn each_picture_comes_in_three_sizes() {
        let errands = plan_all();
        let badges: Vec<_> =
            errands.iter().map(|e| e.name.as_str()).filter(|n| n.starts_with("badge")).collect();
        assert_eq!(badges, ["badge-64", "badge-160", "badge-320"]);
    }

    #[test]
    fn documents_are_named_by_their_folder() {
        let layout = Layout::new(None);
        let name = |path: &str| output_name(&layout, &layout.root().join(path));
        assert_eq!(name("README.md"), "README");
        assert_eq!(name("docs/redis.md"), "docs-redis");
        assert_eq!(name("plugins/csv-report/samples/a.csv"), "a");
    }

    #[test]
    fn a_line_carries_the_bytes_their_type_and_the_wishes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.png");
        fs::write(&file, "hi").unwrap();
        let wishes = variants("thumbnail")[0].1;
        let errand = Errand { task_type: "thumbnail".into(), name: "a".into(), file, wishes };
        let expected = json!({
            "type": "thumbnail", "payload_base64": "aGk=", "content_type": "image/png",
            "metadata": {"width": "64", "height": "64", "fit": "cover"},
        });
        assert_eq!(errand.line().unwrap(), expected);
    }

    #[test]
    fn a_plugin_without_samples_is_an_error_that_says_where_to_put_one() {
        let error = plan(&Layout::new(None), &["no-such".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("plugins/no-such/samples"), "{error}");
    }
}
