//! `check` without a path: the manifests of a folder, without what has to be rendered first.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::note;
use crate::manifest::files::{self, Input};
use crate::manifest::{self, Node};
use crate::text::printable;

/// Every `.yaml`, `.yml` and `.json` file below the current directory, but for templates of Helm charts and patches of
/// kustomizations: they are manifests only once they are rendered. Whichever of them speak of Prefect are named, with
/// the command that renders them.
pub(super) fn find() -> anyhow::Result<Vec<Input>> {
    let found = files::find(&[".".to_owned()])?;
    note(format_args!("no path was named: judging the manifests below the current directory"));
    let charts = charts(&found);
    let patches = patches(&found);
    let mut rendered = BTreeSet::new();
    let mut inputs = Vec::new();
    for input in found {
        let path = input.path.as_deref().map(normal).unwrap_or_default();
        let chart = charts.iter().find(|chart| path.starts_with(chart.join("templates")));
        let command = match (chart, patches.iter().find(|(patch, _)| *patch == path)) {
            (Some(chart), _) => format!("helm template {}", shown(chart)),
            (None, Some((_, folder))) => format!("kustomize build {}", shown(folder)),
            (None, None) => {
                inputs.push(input);
                continue;
            }
        };
        if input.read().is_ok_and(|text| text.to_ascii_lowercase().contains("prefect")) {
            rendered.insert(command);
        }
    }
    for command in rendered {
        note(format_args!(
            "left out, since it is rendered first: `{command} | prefect-guard check -` judges it"
        ));
    }
    Ok(inputs)
}

/// The folders of Helm charts.
fn charts(found: &[Input]) -> Vec<PathBuf> {
    found
        .iter()
        .filter_map(|input| input.path.as_deref())
        .filter(|path| path.file_name().is_some_and(|name| name == "Chart.yaml"))
        .filter_map(|path| normal(path).parent().map(Path::to_owned))
        .collect()
}

/// The files that kustomizations use as patches, each with the kustomization's folder.
fn patches(found: &[Input]) -> Vec<(PathBuf, PathBuf)> {
    let mut patches = Vec::new();
    for input in found {
        let Some(path) = input.path.as_deref().map(normal) else { continue };
        let is_one = path.file_stem().is_some_and(|stem| stem == "kustomization");
        let (true, Some(folder)) = (is_one, path.parent()) else { continue };
        let Ok(text) = input.read() else { continue };
        let Ok(Some(root)) = manifest::parse(&text) else { continue };
        let names = ["patches", "patchesJson6902", "patchesStrategicMerge"]
            .into_iter()
            .filter_map(|key| root.get(key))
            .flat_map(Node::items)
            .filter_map(|item| item.get("path").unwrap_or(item).text());
        patches.extend(names.map(|name| (normal(&folder.join(name)), folder.to_owned())));
    }
    patches
}

/// A path without `.` and `..`, as far as the path itself says.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if normal.file_name().is_some() => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

/// A folder in a command.
fn shown(folder: &Path) -> String {
    let text = folder.display().to_string();
    if text.is_empty() { ".".to_owned() } else { printable(&text).to_string() }
}
