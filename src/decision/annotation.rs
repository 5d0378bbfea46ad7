//! What stands on the workload itself: the findings left to its author, seen by whoever may read it.
//!
//! They go into the workload's own metadata and never into its template: no pod restarts for their sake.

use json_patch::jsonptr::{Pointer, PointerBuf};
use serde_json::json;

use crate::kubernetes::{Class, Workload};
use crate::migration::{self, Operation};
use crate::policy::Settings;
use crate::rule::Finding;

/// The annotation that holds the findings, one a line.
pub const FINDINGS: &str = "prefect-guard.io/findings";

/// The annotation that says which version of the program wrote them.
pub const CHECKED_BY: &str = "prefect-guard.io/checked-by";

/// The most that [`FINDINGS`] holds, in bytes. All annotations of an object together may have 256 KiB.
pub const LIMIT: usize = 2048;

/// Room for the line that says how many more there are.
const MORE: usize = 24;

const ANNOTATIONS: &Pointer = Pointer::from_static("/metadata/annotations");

/// Whether the workload takes the annotations. A controller would undo them, also one that takes an injection over.
pub(super) fn is_wanted(workload: &Workload<'_>, settings: &Settings) -> bool {
    settings.report_annotation && workload.class == Class::Server && workload.controller.is_none()
}

/// The operations that leave `findings` on the workload, and nothing where there are none. Empty where that is how it
/// stands already.
pub(super) fn operations(workload: &Workload<'_>, findings: &[Finding]) -> Vec<Operation> {
    let Some(own) = &workload.own_annotations else { return Vec::new() };
    let version = env!("CARGO_PKG_VERSION");
    let present = own.get(FINDINGS);
    match text(findings) {
        Some(wanted) if own.is_empty() => {
            let both = json!({ FINDINGS: wanted, CHECKED_BY: version });
            vec![Operation::add(ANNOTATIONS.to_buf(), migration::json(&both))]
        }
        Some(wanted) if present.as_ref() == Some(&wanted) => Vec::new(),
        Some(wanted) => [(FINDINGS, wanted.as_str()), (CHECKED_BY, version)]
            .map(|(name, value)| Operation::add(at(name), migration::json(&value)))
            .to_vec(),
        None => {
            let there = [FINDINGS, CHECKED_BY].into_iter().filter(|name| own.get(name).is_some());
            there.map(|name| Operation::remove(at(name))).collect()
        }
    }
}

/// The pointer to an annotation; the slash in its name is escaped.
fn at(name: &str) -> PointerBuf {
    ANNOTATIONS.with_trailing_token(name)
}

/// The findings, one a line in the order they have, up to [`LIMIT`].
fn text(findings: &[Finding]) -> Option<String> {
    let lines: Vec<String> = findings.iter().map(Finding::message).collect();
    let whole = lines.join("\n");
    if whole.len() <= LIMIT {
        return Some(whole).filter(|text| !text.is_empty());
    }
    let mut text = String::new();
    let mut shown = 0;
    for line in &lines {
        if text.len() + line.len() + 1 > LIMIT - MORE {
            break;
        }
        text.push_str(line);
        text.push('\n');
        shown += 1;
    }
    Some(format!("{text}and {} more", lines.len() - shown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{Place, Report, Rule};

    static RULE: Rule = Rule { id: "PSG999", name: "test", ..Rule::USUAL };

    fn findings(containers: &[String]) -> Vec<Finding> {
        let mut report = Report::default();
        for container in containers {
            let place = Place { container: Some(container.clone()), ..Place::default() };
            report.add(&RULE, place, "what is wrong", "correct it");
        }
        report.into_findings()
    }

    #[test]
    fn one_finding_a_line() {
        assert_eq!(text(&[]), None);
        let two = text(&findings(&["api".to_owned(), "b".to_owned()]));
        let wanted = "PSG999 test: container `api`: what is wrong\nPSG999 test: container `b`: what is wrong";
        assert_eq!(two.as_deref(), Some(wanted));
    }

    #[test]
    fn what_is_beyond_the_limit_is_counted() {
        for length in 1..63 {
            for count in 1..200 {
                let names: Vec<String> = (0..count).map(|n| format!("{n:0length$}")).collect();
                let text = text(&findings(&names)).expect("findings");
                let shown = text.lines().filter(|line| line.starts_with("PSG999")).count();
                let more =
                    text.lines().last().and_then(|line| line.strip_prefix("and ")?.strip_suffix(" more"));
                let more: usize = more.map_or(0, |number| number.parse().expect("a number"));
                assert!(text.len() <= LIMIT, "{} bytes", text.len());
                assert_eq!(shown + more, count);
            }
        }
    }
}
