//! The report as JUnit's XML, for CI systems that show tests: each finding is a test that failed.

use std::io::Write;

use super::Report;
use crate::rule::Severity;

pub(super) fn print(report: &Report, out: &mut dyn Write) -> anyhow::Result<()> {
    let denied = report.findings.iter().filter(|found| found.severity == Severity::Deny).count();
    let (warned, errors) = (report.findings.len() - denied, report.unread.len());
    let clean = usize::from(report.findings.is_empty() && report.unread.is_empty());
    let tests = report.findings.len() + errors + clean;
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(
        out,
        r#"<testsuite name="prefect-guard" tests="{tests}" failures="{denied}" errors="{errors}" skipped="{warned}">"#
    )?;
    for found in &report.findings {
        let name = escape(&format!("{} {}: {}", found.rule.id, found.rule.name, found.about));
        let place = found.source.as_ref().map_or_else(String::new, |source| {
            format!(r#" file="{}" line="{}""#, escape(&source.file), source.line)
        });
        let text = escape(&format!("{}\nhelp: {}\n{}", found.message, found.help, found.rule.url()));
        let title = escape(found.title());
        writeln!(out, r#"  <testcase classname="prefect-guard" name="{name}"{place}>"#)?;
        // A warning refuses nothing, so no build may fail for it.
        match found.severity {
            Severity::Deny => writeln!(out, r#"    <failure message="{title}">{text}</failure>"#)?,
            _ => {
                writeln!(out, r#"    <skipped message="{title}"/>"#)?;
                writeln!(out, "    <system-out>{text}</system-out>")?;
            }
        }
        writeln!(out, "  </testcase>")?;
    }
    for unread in &report.unread {
        let (file, what) = (escape(&unread.file), escape(&unread.what));
        writeln!(
            out,
            r#"  <testcase classname="prefect-guard" name="{file}" file="{file}" line="{}">"#,
            unread.line
        )?;
        writeln!(out, r#"    <error message="{what}">help: {}</error>"#, escape(&unread.help))?;
        writeln!(out, "  </testcase>")?;
    }
    if clean == 1 {
        let name = escape(&report.in_words());
        writeln!(out, r#"  <testcase classname="prefect-guard" name="{name}"/>"#)?;
    }
    writeln!(out, "</testsuite>")?;
    Ok(())
}

/// Text for an attribute or an element. What XML 1.0 cannot hold became blanks when the report was made, but for line
/// feeds, which are ours.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push('\n'),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
