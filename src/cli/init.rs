//! `prefect-guard init`: a policy file with every key in it, explained, to start from.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::{Outcome, note, reference};
use crate::policy::schema;
use crate::rule::Level;
use crate::rules::{CATALOGUE, REGISTER};
use crate::text::wrapped;

/// How wide an explanation may be.
const WIDTH: usize = 100;

/// Writes a policy file to start from: every key is in it, explained and switched off.
///
/// The file changes nothing at first: each rule has its own level. Delete the `# ` in front of what you want.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write; `-` is standard output.
    #[arg(default_value = "prefect-guard-policy.yaml")]
    file: PathBuf,
    /// Overwrite a file that exists.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let text = policy();
    if args.file.as_os_str() == "-" {
        out.write_all(text.as_bytes())?;
        return Ok(Outcome::Clean);
    }
    let name = args.file.display();
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(!args.force).create(true).truncate(args.force);
    match options.open(&args.file) {
        Ok(mut file) => {
            file.write_all(text.as_bytes()).with_context(|| format!("cannot write `{name}`"))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("`{name}` is there already\n  help: name another file, or write over it with `--force`");
        }
        Err(error) => return Err(error).with_context(|| format!("cannot write `{name}`")),
    }
    note(format_args!(
        "wrote `{name}`; `prefect-guard policy check {name}` reads it, `prefect-guard check --policy {name} PATH…` judges by it"
    ));
    Ok(Outcome::Clean)
}

/// The text of the file. Lines that begin with `##` explain; a key behind `# ` can be switched on.
fn policy() -> String {
    let schema = schema(CATALOGUE);
    let mut text = String::from(
        "## The policy of prefect-guard. As it stands it changes nothing: every rule has its own level.\n\
         ## Take away the `# ` in front of what you want, then run `prefect-guard policy check FILE`.\n\
         apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\n",
    );
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        if key == "apiVersion" || key == "kind" {
            continue;
        }
        text.push('\n');
        explain(reference::description(&schema, property), "", &mut text);
        match key.as_str() {
            "rules" => rules(&mut text),
            "namespaces" => text.push_str("# namespaces:\n#   team-a:\n#     mode: warn\n"),
            _ => entry(&schema, key, property, "", &mut text),
        }
    }
    text
}

/// A key with what may stand behind it, and the keys below it.
fn entry(schema: &Value, key: &str, property: &Value, indent: &str, text: &mut String) {
    let property = reference::resolve(schema, property);
    match property["properties"].as_object() {
        Some(inner) => {
            text.push_str(&format!("# {indent}{key}:\n"));
            let indent = format!("{indent}  ");
            for (key, property) in inner {
                explain(reference::description(schema, property), &indent, text);
                entry(schema, key, property, &indent, text);
            }
        }
        None => text.push_str(&format!("# {indent}{key}: {}\n", sample(schema, property))),
    }
}

/// Something that may stand there, with the other possibilities behind it.
fn sample(schema: &Value, property: &Value) -> String {
    let choices = reference::choices(schema, property);
    match (choices.split_first(), reference::kind(property).as_str()) {
        (Some((first, [])), _) => first.clone(),
        (Some((first, rest)), _) => format!("{first}  # or {}", rest.join(", ")),
        (None, "array") => "[]".to_owned(),
        (None, "object") => "{}".to_owned(),
        (None, "integer") => "60".to_owned(),
        (None, _) => "\"…\"".to_owned(),
    }
}

/// Every rule at its own level.
fn rules(text: &mut String) {
    text.push_str("# rules:\n");
    for entry in REGISTER {
        let level = match entry.rule.default {
            Level::Deny => "deny",
            Level::Warn => "warn",
            Level::Off => "\"off\"",
        };
        let setting = format!("{}: {level}", entry.rule.name);
        text.push_str(&format!("#   {setting:<40} # {}: {}\n", entry.rule.id, entry.rule.summary));
    }
}

/// An explanation in lines that begin with `##`.
fn explain(words: &str, indent: &str, text: &mut String) {
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in wrapped(&words, WIDTH - indent.len()) {
        text.push_str(&format!("## {indent}{line}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::policy;
    use crate::policy::Policy;
    use crate::rules::CATALOGUE;

    #[test]
    fn is_a_policy_that_changes_nothing() {
        let read = Policy::from_yaml(&policy(), CATALOGUE).expect("a policy");
        assert_eq!(
            format!("{:?}", read.settings("data")),
            format!("{:?}", Policy::default().settings("data"))
        );
    }

    #[test]
    fn every_key_can_be_switched_on() {
        let on: String =
            policy().lines().map(|line| line.strip_prefix("# ").unwrap_or(line).to_owned() + "\n").collect();
        let on = on.replace("kinds: []", "").replace("\"…\"", "\"x:\"");
        Policy::from_yaml(&on, CATALOGUE).unwrap_or_else(|error| panic!("{error}\n{on}"));
    }
}
