//! Our verdicts against those of the real Prefect, on cases generated from the grammar of its settings.
//!
//! `tests/live/differential.py` runs each case through Prefect's own settings models, SQLAlchemy and asyncpg, without
//! a database: the newest release and one before it. `tests/setup` makes a Python with each at `target/live/prefect-…`.
//! Without them the test fails: it must not pass by not running.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::settings::{Read, deployment};
use prefect_guard::prefect::database::{Database, Reading};
use prefect_guard::prefect::settings::{Field, Name, SETTINGS, Setting};
use prefect_guard::prefect::url::{Grammar, SQLALCHEMY};
use prefect_guard::prefect::version::Release;
use prefect_guard::rule::{Level, Rule};
use prefect_guard::rules::{self, Subject};
use serde_json::json;

/// How many cases are generated, unless `PREFECT_GUARD_TEST_CASES` asks for more.
const CASES: usize = 600;
/// Each release judges the cases of both.
const SEEDS: [u32; 2] = [20_261_123, 20_261_128];
/// At least so many of each verdict.
const OF_EACH: usize = 100;

#[derive(serde::Deserialize)]
struct Case {
    case: String,
    env: BTreeMap<String, String>,
    workers: Option<u32>,
    expect: String,
    why: String,
}

fn python(release: &str) -> PathBuf {
    let python = crate::support::root().join(format!("target/live/prefect-{release}/bin/python"));
    assert!(python.exists(), "no Python with Prefect {release} at {}: run `tests/setup`", python.display());
    python
}

/// What a real Prefect makes of the measured cases and of those generated from a seed.
fn run(release: &str, seed: u32) -> Vec<Case> {
    let output = Command::new(python(release))
        .arg(crate::support::root().join("tests/live/differential.py"))
        .arg(crate::support::root().join("tests/fixtures/truth/database-settings.json"))
        .args(["--seed", &seed.to_string()])
        .args(["--count", &std::env::var("PREFECT_GUARD_TEST_CASES").unwrap_or_else(|_| CASES.to_string())])
        .stderr(Stdio::inherit())
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "the script failed");
    let text = String::from_utf8(output.stdout).expect("JSON lines");
    text.lines().map(|line| serde_json::from_str(line).expect("a case")).collect()
}

/// Whether a rule about settings denies, with URLs read by `grammar`; and what was said.
fn judge(case: &Case, grammar: &'static Grammar) -> (bool, Vec<String>) {
    let env = case.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut manifest = deployment(env);
    if let Some(workers) = case.workers {
        let words = json!(["--workers", workers.to_string()]);
        manifest["spec"]["template"]["spec"]["containers"][0]["args"] = words;
    }
    let manifest = manifest.to_string();
    let mut denied = false;
    let mut said = Vec::new();
    Read::of(&manifest, |subject: &mut Subject<'_>| {
        for server in &mut subject.servers {
            let reading = Reading {
                grammar,
                ..Reading::new(
                    subject.workload,
                    server.container,
                    &server.invocation,
                    &server.environment,
                    &[],
                )
            };
            server.database = Database::read(&reading);
        }
        let settings = |rule: &Rule| rule.id.starts_with("PSG1") || rule.id == "PSG401";
        for finding in rules::check(subject, settings) {
            denied |= finding.rule.default == Level::Deny && finding.at_most == Level::Deny;
            said.push(finding.message());
            said.push(finding.help);
        }
    });
    (denied, said)
}

fn disagreements(cases: &[Case], grammar: &'static Grammar) -> Vec<String> {
    cases
        .iter()
        .filter_map(|case| {
            let (denied, said) = judge(case, grammar);
            let ours = if denied { "deny" } else { "allow" };
            let known = KNOWN.iter().any(|(known, _)| *known == case.case);
            (ours != case.expect && !known).then(|| {
                format!(
                    "{} {:?}: Prefect {} ({}), we {ours} {said:?}",
                    case.case, case.env, case.expect, case.why
                )
            })
        })
        .collect()
}

/// Measured cases in which versions of Prefect differ, with the reason; `docs/disagreements.md` has them too.
const KNOWN: [(&str, &str); 0] = [];

/// One test for all three: a runner with a process for each test would run Prefect three times.
#[test]
fn agrees_with_the_newest_prefect_and_would_notice_if_not() {
    let cases = run("3.9.1", SEEDS[0]);
    agrees(&cases);
    notices_a_broken_character_class(&cases);
    says_nothing_of_any_value(&cases);
}

#[test]
fn agrees_with_the_newest_prefect_on_the_second_seed() {
    agrees(&run("3.9.1", SEEDS[1]));
}

#[test]
fn agrees_with_the_prefect_before_it() {
    for seed in SEEDS {
        agrees(&run("3.8.8", seed));
    }
}

fn agrees(cases: &[Case]) {
    let of_kind = |kind: &str| cases.iter().filter(|case| case.case.starts_with(kind)).collect::<Vec<_>>();
    let generated = of_kind("generated");
    assert!(generated.len() >= 500, "only {} generated cases", generated.len());
    for (cases, least) in [(generated, OF_EACH), (of_kind("workers"), OF_EACH / 10)] {
        for verdict in ["allow", "deny"] {
            let count = cases.iter().filter(|case| case.expect == verdict).count();
            assert!(count >= least, "only {count} cases of `{verdict}`, {least} are needed");
        }
    }
    let wrong = disagreements(cases, &SQLALCHEMY);
    assert!(wrong.is_empty(), "{} of {} disagree:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// The comparison can fail: each character class of the grammar, broken, is noticed.
fn notices_a_broken_character_class(cases: &[Case]) {
    static BROKEN: [(&str, Grammar); 7] = [
        ("user", Grammar { user: &[':', '/', '@'], ..SQLALCHEMY }),
        ("password", Grammar { password: &['@', '/'], ..SQLALCHEMY }),
        ("host", Grammar { host: &['/', ':'], ..SQLALCHEMY }),
        ("bracketed", Grammar { bracketed: &['/', '?', ':'], ..SQLALCHEMY }),
        ("port", Grammar { port: &['?'], ..SQLALCHEMY }),
        ("database", Grammar { database: &['#'], ..SQLALCHEMY }),
        ("query", Grammar { query: &['&'], ..SQLALCHEMY }),
    ];
    for (class, grammar) in &BROKEN {
        assert!(!disagreements(cases, grammar).is_empty(), "nothing notices a broken class `{class}`");
    }
}

/// No value shows up in what we say, not even in part.
fn says_nothing_of_any_value(cases: &[Case]) {
    for case in cases {
        let (_, said) = judge(case, &SQLALCHEMY);
        for secret in ["s3cret", "db.example", "p@ss", "p%40", "xxxxx", "//prefect"] {
            assert!(!said.iter().any(|line| line.contains(secret)), "{}: {said:?}", case.case);
        }
    }
}

/// What settings the Prefect of one release reads, in capitals.
fn names_read_by(release: &str) -> BTreeSet<String> {
    let output = Command::new(python(release))
        .arg(crate::support::root().join("tests/live/settings_names.py"))
        .stderr(Stdio::inherit())
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "the script failed");
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

/// Whether our table says that `release` reads `name`.
fn is_read_by(setting: &Setting, name: &Name, release: Release) -> bool {
    name.since <= release && setting.replaced.is_none_or(|(until, _)| release < until)
}

#[test]
fn the_table_of_settings_says_which_release_reads_which_name() {
    let releases =
        [Release(2, 20, 20), Release(3, 0, 0), Release(3, 4, 0), Release(3, 8, 8), Release(3, 9, 1)];
    let mut wrong = Vec::new();
    for release in releases {
        let read = names_read_by(&release.to_string());
        // `PREFECT_PROFILE` is no setting of the models: the command line's context reads it. Models and groups of
        // settings came together.
        let named = |name: &Name| name.text != "PREFECT_PROFILE" && name.text != "PREFECT_SERVER_DATABASE";
        for setting in &SETTINGS {
            for name in setting.names.iter().filter(|name| named(name) && !setting.field.is_group()) {
                if read.contains(name.text) != is_read_by(setting, name, release) {
                    wrong.push(format!("{release}: {} is read: {}", name.text, read.contains(name.text)));
                }
            }
        }
        let database = ["PREFECT_SERVER_DATABASE", "PREFECT_API_DATABASE", "PREFECT_SQLALCHEMY"];
        for name in read.iter().filter(|name| database.iter().any(|prefix| name.starts_with(prefix))) {
            if Field::named(name).is_none() {
                wrong.push(format!("{release}: {name} is not in the table"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
