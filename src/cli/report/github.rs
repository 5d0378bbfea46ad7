//! The report as workflow commands of GitHub Actions: `::error file=…,line=…::message`.

use std::io::Write;

use super::Report;
use crate::rule::Severity;

pub(super) fn print(report: &Report, out: &mut dyn Write) -> anyhow::Result<()> {
    for found in &report.findings {
        let level = if found.severity == Severity::Deny { "error" } else { "warning" };
        let place = found.source.as_ref().map_or_else(String::new, |source| {
            format!("file={},line={},col={},", property(&source.file), source.line, source.column)
        });
        let title = property(&format!("{} {}", found.rule.id, found.rule.name));
        let text = format!("{}: {}\nhelp: {}", found.about, found.message, found.help);
        writeln!(out, "::{level} {place}title={title}::{}", data(&text))?;
    }
    for unread in &report.unread {
        let file = property(&unread.file);
        let text = data(&format!("{}\nhelp: {}", unread.what, unread.help));
        writeln!(
            out,
            "::error file={file},line={},col={},title=unreadable::{text}",
            unread.line, unread.column
        )?;
    }
    Ok(())
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
