//! A table of findings, one line each, for what runs in a cluster (`audit`).

use std::io::Write;

use super::Report;

pub(super) fn print(report: &Report, out: &mut dyn Write) -> anyhow::Result<()> {
    let rows: Vec<[String; 4]> = report
        .findings
        .iter()
        .map(|found| {
            let container = found.container.clone().unwrap_or_default();
            [found.severity.as_str().to_owned(), found.about.to_string(), container, found.message.clone()]
        })
        .collect();
    let width = |column: usize, title: &str| {
        rows.iter().map(|row| row[column].chars().count()).chain([title.len()]).max().unwrap_or_default()
    };
    if !rows.is_empty() {
        let (object, container) = (width(1, "OBJECT"), width(2, "CONTAINER"));
        writeln!(out, "{:4}  {:object$}  {:container$}  FINDING", "", "OBJECT", "CONTAINER")?;
        for [severity, name, inside, message] in &rows {
            writeln!(out, "{severity}  {name:object$}  {inside:container$}  {message}")?;
        }
        writeln!(out)?;
    }
    for exempted in &report.exempted {
        writeln!(out, "exempted: {}: {}", exempted.about, exempted.exemption.in_words())?;
    }
    for unread in &report.unread {
        writeln!(out, "{}: {}; {}", unread.file, unread.what, unread.help)?;
    }
    writeln!(out, "{}", report.in_words())?;
    Ok(())
}
