//! The page of all messages: one example of each rule's, from the words that `golden` compares with what comes out; what
//! commands say of wrong input; what the chart refuses.

mod commands;

use std::collections::BTreeSet;
use std::fs;

use crate::support::root;
use prefect_guard::rules::REGISTER;

/// A finding as `check` prints it.
struct Message {
    severity: String,
    text: String,
    help: String,
}

/// The findings of one rule in a text that `check` has printed.
fn messages(text: &str, id: &str) -> Vec<Message> {
    let mut found: Vec<Message> = Vec::new();
    let mut is_ours = false;
    for line in text.lines() {
        let head = line.split_once("]: ").and_then(|(head, text)| Some((head.split_once('[')?, text)));
        if let Some(((severity @ ("error" | "warning"), of), text)) = head {
            is_ours = of == id;
            if is_ours {
                let (_, text) = text.split_once(": ").expect("the rule's name");
                found.push(Message {
                    severity: severity.to_owned(),
                    text: text.to_owned(),
                    help: String::new(),
                });
            }
        } else if let (true, Some(help)) = (is_ours, line.trim_start().strip_prefix("= help: ")) {
            found.last_mut().expect("a finding before its help").help = help.to_owned();
        }
    }
    found
}

/// What stays the same when names and numbers are others.
fn shape(text: &str) -> String {
    let outside = text.split('`').step_by(2).collect::<Vec<_>>().join("`…`");
    let words = outside.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    // The place comes first, and not every finding has one.
    words.replace("container `…`, env `…`: ", "").replace("container `…`: ", "").replace("env `…`: ", "")
}

/// The page.
pub(crate) fn page() -> String {
    let mut page = String::from(
        "# Messages\n\nThis page has every message of every rule, with an example from the rules' tests, then what \
         [commands](#commands) say of input\nthat they cannot use, and what the [chart](#the-chart) refuses. What the migration's \
         container says is on [its own page](migration.md#what-it-says).\n\nNames and numbers vary. `error` refuses \
         the object, `warning` lets it pass. Each heading leads to the rule's page, which\nsays what to do, and why.\n",
    );
    for rule in REGISTER.iter().map(|entry| entry.rule) {
        let folder = format!("{}_{}", rule.id.to_lowercase(), rule.name.replace('-', "_"));
        let file = root().join("tests/fixtures/rules").join(folder).join("messages.txt");
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut shapes = BTreeSet::new();
        page.push_str(&format!("\n## [{0}](rules/{0}.md) {1}\n", rule.id, rule.name));
        for Message { severity, text, help } in messages(&text, rule.id) {
            assert!(!help.is_empty(), "{}: `{text}` has no help", rule.id);
            if shapes.insert(shape(&text)) {
                page.push_str(&format!("\n```text\n{severity}: {text}\n  help: {help}\n```\n"));
            }
        }
        assert!(!shapes.is_empty(), "{}: no message", rule.id);
    }
    page.push_str(
        "\n## Commands\n\nEach of these was run. [Command line](command-line.md) has all options.\n",
    );
    page.push_str(&commands::section());
    page.push_str("\n## The chart\n\nWhat `helm install` and `helm upgrade` refuse, by the values given.\n");
    page.push_str(&crate::chart::refusals::examples());
    page
}
