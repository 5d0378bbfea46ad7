//! How many instructions a decision takes, and whether that grew: `tests/perf/gate` runs this.
//!
//! Counts are taken under `valgrind --tool=callgrind`, so they do not depend on how busy the machine is. Each case
//! runs a few and then some more times, and the difference is what one more decision costs; start-up falls out.
//! They do depend on the compiler (pinned in `rust-toolchain.toml`), the C library and the processor's vector
//! instructions, which is what the tolerance is for.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command that prints its result")]

#[path = "../support/mod.rs"]
mod support;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use prefect_guard_core::answer::answer;
use prefect_guard_core::decision::Endpoint;
use prefect_guard_core::policy::Policy;
use support::{CHART, HUGE, LARGE, SIZES, SMALL, Whose, image_bump, mutated, review};

/// Where the recorded counts are, beside this package's manifest.
const RECORD: &str = "counts.txt";

/// Growth that is no regression: what another patch release of the C library or another processor makes.
const TOLERANCE: f64 = 0.10;

/// One decision that is measured.
struct Case {
    name: String,
    endpoint: Endpoint,
    body: fn() -> Vec<u8>,
    /// Runs beyond the first few that the count is taken over; fewer for large objects.
    rounds: u64,
}

fn cases() -> Vec<Case> {
    let case = |name: &str, endpoint, rounds, body| Case { name: name.to_owned(), endpoint, body, rounds };
    use Endpoint::{Mutate, Validate};
    use Whose::{Server, Unrelated, Worker};
    vec![
        case("mutate, server, 4 KB", Mutate, 20, || review(Server, SMALL)),
        case("mutate, server, 13 KB", Mutate, 20, || review(Server, CHART)),
        case("mutate, server, 100 KB", Mutate, 5, || review(Server, LARGE)),
        case("mutate, server, 1 MB", Mutate, 2, || review(Server, HUGE)),
        case("mutate again, server, 20 KB", Mutate, 20, || mutated(&review(Server, CHART))),
        case("mutate, server, new image, 40 KB", Mutate, 10, || image_bump(Server, CHART)),
        case("mutate, worker, 13 KB", Mutate, 20, || review(Worker, CHART)),
        case("mutate, unrelated, 13 KB", Mutate, 20, || review(Unrelated, CHART)),
        case("mutate, unrelated, 1 MB", Mutate, 5, || review(Unrelated, HUGE)),
        case("validate, server, 20 KB", Validate, 20, || mutated(&review(Server, CHART))),
        case("validate, server, new image, 40 KB", Validate, 10, || image_bump(Server, CHART)),
        case("validate, missing migration, 13 KB", Validate, 20, || review(Server, CHART)),
    ]
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => gate(false),
        ["--update"] => gate(true),
        ["run", case, rounds] => run(case, rounds),
        ["sizes"] => sizes(),
        _ => {
            eprintln!("instructions [--update]");
            ExitCode::from(2)
        }
    }
}

/// Decides one case over and over: what callgrind looks at.
fn run(name: &str, rounds: &str) -> ExitCode {
    let case = cases().into_iter().find(|case| case.name == name).expect("a case of this name");
    let body = (case.body)();
    let policy = Policy::default();
    for _ in 0..rounds.parse().expect("a number of rounds") {
        black_box(answer(case.endpoint, black_box(&body), &policy));
    }
    ExitCode::SUCCESS
}

/// Prints how large the bodies and the answers are.
fn sizes() -> ExitCode {
    for case in cases() {
        let body = (case.body)();
        let answer = answer(case.endpoint, &body, &Policy::default());
        println!(
            "{:<40} {:>9} bytes in {:>7} out, {:?}",
            case.name,
            body.len(),
            answer.body.len(),
            answer.record.verdict
        );
    }
    println!("{} sizes", SIZES.len());
    ExitCode::SUCCESS
}

fn gate(update: bool) -> ExitCode {
    let recorded = std::fs::read_to_string(record()).unwrap_or_default();
    let recorded = |name: &str| {
        recorded.lines().filter_map(|line| line.rsplit_once(" | ")).find_map(|(known, count)| {
            (known.trim() == name).then(|| count.trim().parse::<u64>().expect("a recorded count"))
        })
    };
    let mut table = String::new();
    let mut grown = 0;
    for case in cases() {
        let count = match count(&case) {
            Ok(count) => count,
            Err(problem) => {
                eprintln!("{problem}");
                return ExitCode::from(2);
            }
        };
        table.push_str(&format!("{:<40} | {count:>10}\n", case.name));
        let (change, bad) = match recorded(&case.name) {
            Some(before) => {
                let change = count as f64 / before as f64 - 1.0;
                (format!("{:+.1} %", change * 100.0), change > TOLERANCE)
            }
            None => ("not recorded".to_owned(), true),
        };
        grown += usize::from(bad && !update);
        println!(
            "{:<40} {count:>10} {change:>14}{}",
            case.name,
            if bad && !update { "  <- too much" } else { "" }
        );
    }
    if update {
        std::fs::write(record(), table).expect("the record is writable");
    } else if grown > 0 {
        println!("\n{grown} counts grew by more than {:.0} %.", TOLERANCE * 100.0);
        println!(
            "If that is what it takes, record it with `tests/perf/gate --update` and say why in the commit."
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Instructions of one decision.
fn count(case: &Case) -> Result<u64, String> {
    let few = 3;
    let less = collected(&case.name, few)?;
    let more = collected(&case.name, few + case.rounds)?;
    Ok((more - less) / case.rounds)
}

/// Instructions of a whole run of this program.
fn collected(case: &str, rounds: u64) -> Result<u64, String> {
    let this = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this)
        .args(["run", case, &rounds.to_string()])
        .output()
        .map_err(|error| format!("cannot run `valgrind` (Debian package `valgrind`): {error}"))?;
    let log = String::from_utf8_lossy(&output.stderr);
    let counted = log.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    counted.filter(|_| output.status.success()).ok_or_else(|| format!("valgrind gave no count:\n{log}"))
}

fn record() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(RECORD)
}
