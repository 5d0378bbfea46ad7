//! The report for people: each finding with the line of the manifest under it.

use std::collections::BTreeSet;
use std::io::Write;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::{Found, Report, Source, Unread};
use crate::rule::Severity;

pub(super) fn print(report: &Report, explain: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let renderer = Renderer::styled();
    let mut explained = BTreeSet::new();
    for found in &report.findings {
        writeln!(out, "{}\n", rendered(found, &renderer))?;
        if explain && explained.insert(found.rule.id) {
            for line in found.rule.page.trim_end().lines() {
                writeln!(out, "{}", format!("    {line}").trim_end())?;
            }
            writeln!(out)?;
        }
    }
    for unread in &report.unread {
        writeln!(out, "{}\n", renderer.render(&[unreadable(unread)]))?;
    }
    writeln!(out, "{}", report.in_words())?;
    Ok(())
}

fn rendered(found: &Found, renderer: &Renderer) -> String {
    let text = renderer.render(&[finding(found)]);
    // The renderer counts the column in the line as it is shown, where hidden values before it have another width.
    match &found.source {
        Some(Source { file, line, column, shown: Some(shown) }) => {
            let counted = shown.text[..shown.mark.start].chars().count() + 1;
            text.replacen(&format!("{file}:{line}:{counted}"), &format!("{file}:{line}:{column}"), 1)
        }
        _ => text,
    }
}

fn finding(found: &Found) -> Group<'_> {
    let level = if found.severity == Severity::Deny { Level::ERROR } else { Level::WARNING };
    let mut group = Group::with_title(level.primary_title(found.title()).id(found.rule.id));
    if let Some(source) = &found.source {
        group = match &source.shown {
            Some(shown) => {
                let mark = AnnotationKind::Primary.span(shown.mark.clone());
                let snippet = Snippet::source(&shown.text).line_start(source.line).path(&source.file);
                group.element(snippet.annotation(mark))
            }
            None => group.element(Origin::path(&source.file).line(source.line).char_column(source.column)),
        };
    }
    group.element(Level::NOTE.message(found.about.to_string())).element(Level::HELP.message(&found.help))
}

fn unreadable(unread: &Unread) -> Group<'_> {
    Group::with_title(Level::ERROR.primary_title(&unread.what))
        .element(Origin::path(&unread.file).line(unread.line).char_column(unread.column))
        .element(Level::HELP.message(&unread.help))
}
