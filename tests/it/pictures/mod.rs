//! The pictures of the documentation: terminals, drawn from what the program really prints, and the dashboard.
//!
//! Compared with `docs/pictures`; `UPDATE_DOCS=1 cargo test --test it pictures::` draws them anew.

mod cluster;
mod dashboard;
mod svg;

use std::fs;
use std::process::Command;

use crate::support::root;

/// What a command prints, with the colours of a terminal.
fn printed(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_prefect-guard"))
        .args(arguments)
        .current_dir(root())
        .env("CLICOLOR_FORCE", "1")
        .env_remove("NO_COLOR")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// What stands from the line that begins with `start` (colours aside) up to the one that begins with `end`.
fn part(text: &str, start: &str, end: &str) -> String {
    let begins = |line: &str, word: &str| svg::plain(line).trim_start().starts_with(word);
    let lines = text.lines().skip_while(|line| !begins(line, start)).take_while(|line| !begins(line, end));
    let lines: Vec<&str> = lines.collect();
    assert!(!lines.is_empty(), "nothing between `{start}` and `{end}` in\n{text}");
    lines.join("\n").trim_end().to_owned()
}

/// Without the margin that all lines have.
fn flush(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let colour = line.len() - line.trim_start_matches("\u{1b}[1m").len();
        match line.get(colour..).and_then(|rest| rest.strip_prefix("   ")) {
            Some(rest) => format!("{}{rest}", &line[..colour]),
            None => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn prompt(command: &str, output: &str) -> String {
    format!("\u{1b}[1m$ {command}\u{1b}[0m\n{}", output.trim_end())
}

#[test]
fn the_pictures_show_what_comes_out() {
    let demo = printed(&["demo"]);
    let third = part(&demo, "3. ", "4. ");
    let check = ["check", "examples/sync-driver.yaml"];
    let pictures = [
        ("denial", "A denial in a terminal", flush(&part(&third, "$ kubectl apply", "4. "))),
        (
            "check",
            "prefect-guard check in a terminal",
            prompt("prefect-guard check examples/sync-driver.yaml", &printed(&check)),
        ),
        (
            "demo",
            "The corrected server in prefect-guard demo",
            format!(
                "{}\n\u{1b}[1m[…]\u{1b}[0m\n{}",
                prompt("prefect-guard demo", ""),
                part(&demo, "4. ", "5. ")
            ),
        ),
        ("status", "prefect-guard status in a terminal", prompt("prefect-guard status", &cluster::status())),
    ];
    let terminals = pictures.iter().map(|(name, title, text)| (*name, svg::draw(title, text)));
    let pictures: Vec<(&str, String)> = terminals.chain([("dashboard", dashboard::draw())]).collect();
    let folder = root().join("docs/pictures");
    let mut stale = Vec::new();
    for (name, drawn) in &pictures {
        let path = folder.join(format!("{name}.svg"));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, drawn).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != *drawn {
            stale.push(name);
        }
    }
    assert!(
        stale.is_empty(),
        "stale: {stale:?}; `UPDATE_DOCS=1 cargo test --test it pictures::` draws them anew"
    );
    assert_eq!(fs::read_dir(folder).unwrap().count(), pictures.len(), "a picture that nobody draws");
}
