//! How the demo shows an answer to a person.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::scenarios::Scenario;
use super::screen::Screen;
use crate::manifest::emit::{self, Lists};

/// Lines of the migration script that are shown when it is not shown in full.
const SCRIPT_LINES: usize = 3;

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// How much of a patch is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// That there is one.
    Brief,
    /// The difference, with the script folded.
    Folded,
    /// The whole difference.
    Full,
}

/// The head of a scenario: its number, its title and its story.
pub(super) fn title(number: usize, scenario: &Scenario, out: &mut Screen<'_>) -> anyhow::Result<()> {
    out.text(&format!("{BOLD}{number}. {}{PLAIN}", scenario.title))?;
    out.prose(&format!("   {}", scenario.story))?;
    Ok(out.text("")?)
}

/// Shows what `/mutate` does to an object, as `kubectl diff` would, and returns the object after it.
pub(super) fn mutation(
    response: &Value,
    object: &Value,
    detail: Detail,
    out: &mut Screen<'_>,
) -> anyhow::Result<Value> {
    let mut mutated = object.clone();
    match response["patch"].as_str() {
        None => out.text(&format!("   /mutate    {GREEN}no patch{PLAIN}"))?,
        Some(patch) => {
            let patch: json_patch::Patch = serde_json::from_slice(&BASE64_STANDARD.decode(patch)?)?;
            json_patch::patch(&mut mutated, &patch)?;
            if detail == Detail::Brief {
                out.text(&format!("   /mutate    {GREEN}patched{PLAIN}, as every server is"))?;
            } else {
                out.text(&format!("   /mutate    {GREEN}patched{PLAIN}:"))?;
                diff(object, &mutated, detail, out)?;
            }
        }
    }
    warnings(response, out)?;
    Ok(mutated)
}

/// Shows what `/validate` says, in the words of `kubectl`.
pub(super) fn verdict(
    response: &Value,
    request: &Value,
    file: &str,
    out: &mut Screen<'_>,
) -> anyhow::Result<()> {
    let is_admitted = response["allowed"] == Value::Bool(true);
    let word = if is_admitted { format!("{GREEN}admitted{PLAIN}") } else { format!("{RED}refused{PLAIN}") };
    out.text(&format!("   /validate  {word}\n"))?;
    out.command(&format!("   {BOLD}$ kubectl apply -f {file}{PLAIN}"))?;
    warnings(response, out)?;
    if !is_admitted {
        let message = response["status"]["message"].as_str().unwrap_or_default();
        let text = format!(
            "{RED}Error from server (Forbidden):{PLAIN} error when creating \"{file}\": admission webhook \
             \"validate.prefect-guard.io\" denied the request: {message}"
        );
        for line in text.lines() {
            out.text(&format!("   {line}"))?;
        }
        return Ok(());
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = text(&request["kind"]["kind"]).to_lowercase();
    let (group, name) = (text(&request["kind"]["group"]), text(&request["name"]));
    out.text(&format!("   {kind}.{group}/{name} created"))?;
    let containers = request["object"]["spec"]["template"]["spec"]["initContainers"].as_array();
    for container in containers.into_iter().flatten() {
        let path = "jsonpath='{.spec.template.spec.initContainers[*].name}'";
        out.command(&format!("   {BOLD}$ kubectl get {kind} {name} -o {path}{PLAIN}"))?;
        out.text(&format!("   {}", text(&container["name"])))?;
    }
    Ok(())
}

fn warnings(response: &Value, out: &mut Screen<'_>) -> anyhow::Result<()> {
    for warning in response["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        out.text(&format!("   {YELLOW}Warning:{PLAIN} {warning}"))?;
    }
    Ok(())
}

fn diff(before: &Value, after: &Value, detail: Detail, out: &mut Screen<'_>) -> anyhow::Result<()> {
    let (before, after) = (emit::block(before, Lists::Flush), emit::block(after, Lists::Flush));
    let diff = TextDiff::from_lines(&before, &after);
    for group in diff.grouped_ops(3) {
        let mut script = Script::default();
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let line = change.value().trim_end_matches('\n');
            let (sign, colour) = match change.tag() {
                ChangeTag::Insert => ('+', GREEN),
                ChangeTag::Delete => ('-', RED),
                ChangeTag::Equal => (' ', ""),
            };
            match script.line(line, detail) {
                Shown::Whole if detail == Detail::Full => {
                    out.command(&format!("     {colour}{sign} {line}{PLAIN}"))?;
                }
                Shown::Whole => out.listing(colour, &format!("     {sign} {line}"), PLAIN)?,
                Shown::Ellipsis(blank) => {
                    out.listing(colour, &format!("     {sign} {:blank$}[…]", ""), PLAIN)?;
                }
                Shown::Nothing => {}
            }
        }
    }
    Ok(())
}

enum Shown {
    Whole,
    Ellipsis(usize),
    Nothing,
}

/// Follows a literal block (`- |`) to its end.
#[derive(Default)]
struct Script {
    /// The column of the dash and the lines since, inside a block.
    block: Option<(usize, usize)>,
}

impl Script {
    fn line(&mut self, line: &str, detail: Detail) -> Shown {
        let indent = line.len() - line.trim_start().len();
        if let Some((dash, lines)) = &mut self.block {
            if line.trim().is_empty() || indent > *dash {
                *lines += 1;
                return match *lines {
                    _ if detail == Detail::Full => Shown::Whole,
                    lines if lines <= SCRIPT_LINES => Shown::Whole,
                    lines if lines == SCRIPT_LINES + 1 => Shown::Ellipsis(*dash + 2),
                    _ => Shown::Nothing,
                };
            }
            self.block = None;
        }
        if line.trim_start().starts_with("- |") {
            self.block = Some((indent, 0));
        }
        Shown::Whole
    }
}
