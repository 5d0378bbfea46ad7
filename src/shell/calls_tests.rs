//! Which calls migrate, how commands are named, and what fills their environment.

use crate::shell::budget::Budget;
use crate::shell::command::{Action, Failure, Invocation};
use crate::shell::command_names::CommandNames;
use crate::shell::reading::{Known, Surroundings, read, read_as, read_within};
use crate::shell::word::Word;

fn invocation(argv: &[&str]) -> Invocation {
    read(argv, &|_| None)
}

fn actions(argv: &[&str]) -> Vec<Action> {
    invocation(argv).calls.iter().map(|call| call.action).collect()
}

#[test]
fn an_upgrade_that_cannot_work_is_no_migration() {
    let failure = |script: &str| {
        let call = invocation(&["sh", "-c", script]).calls.first().cloned().expect("a call");
        assert_eq!(call.action == Action::BrokenUpgrade, call.failure.is_some(), "{script}");
        call.failure
    };
    let unconfirmed = Some(Failure::Unconfirmed);
    assert_eq!(failure("prefect server database upgrade"), unconfirmed);
    assert_eq!(failure("prefect --no-prompt server database upgrade; prefect server start"), unconfirmed);
    assert_eq!(failure("prefect Server data_base up-grade"), unconfirmed);
    assert_eq!(
        failure("prefect server database upgrade -y --check"),
        Some(Failure::UnknownOption("--check".to_owned()))
    );
    for command in ["database upgrade -y", "server upgrade", "server database migrate"] {
        assert!(
            matches!(failure(&format!("prefect {command}")), Some(Failure::NoSuchCommand(_))),
            "{command}"
        );
    }
    for script in [
        "yes | prefect server database upgrade",
        "echo y | prefect server database upgrade",
        "prefect server database upgrade <<< y",
        "prefect server database upgrade < /answers",
        "yes | sh -c 'prefect server database upgrade'",
        "prefect server database upgrade $FLAGS",
        "prefect server database upgrade -y 2>&1 > /log",
        "prefect server database upgrade -y &> /log",
    ] {
        assert_eq!(failure(script), None, "{script}");
        assert_eq!(actions(&["sh", "-c", script]), [Action::Upgrade], "{script}");
    }
    assert_eq!(failure("prefect server database upgrade || true"), None);
}

#[test]
fn names_of_commands_are_compared_as_the_release_does() {
    let of = |names, line: &str| {
        let argv: Vec<&str> = line.split(' ').collect();
        read_as(names, &argv, &|_| None).calls.iter().map(|call| call.action).collect::<Vec<_>>()
    };
    let reset = "prefect Server data-base RE_SET -y";
    assert_eq!(of(CommandNames::Folded, reset), [Action::Reset]);
    assert_eq!(of(CommandNames::Exact, reset), []);
    assert_eq!(of(CommandNames::Folded, "prefect SERVER Start"), [Action::Serve]);
    assert_eq!(of(CommandNames::Folded, "prefect Orion start"), []);
    assert_eq!(of(CommandNames::Exact, "prefect server start"), [Action::Serve]);
}

#[test]
fn programs_that_fill_the_environment_are_known_by_how_they_are_called() {
    let opaque = |line: &str| {
        let argv: Vec<&str> = line.split(' ').collect();
        let invocation = invocation(&argv);
        assert_eq!(invocation.calls.len(), 1, "{line}");
        invocation.opaque_exports
    };
    for line in [
        "doppler run -- prefect server start",
        "doppler --config-dir /x run --project p -- prefect server start",
        "infisical --domain https://x run --env=prod -- prefect server start",
        "dotenv -f /run/.env run -- prefect server start",
        "dotenv -f /run/.env run prefect server start",
        "dotenvx run -f /run/.env -- prefect server start",
        "op run --env-file=/x -- prefect server start",
        "bws run -- prefect server start",
        "aws-vault --debug exec profile -- prefect server start",
        "chamber -b s3 exec service -- prefect server start",
        "teller -c /x run -- prefect server start",
        "vault-env prefect server start",
        "berglas exec -- prefect server start",
        "envconsul -config /x prefect server start",
        "uv run dotenv -f x run -- prefect server start",
        "python -m dotenv -f x run -- prefect server start",
        "akeyless-env prefect server start",
        "env-cmd -f .env prefect server start",
        // Any other that is called so.
        "secretly --vault x run -- prefect server start",
        "/opt/tool exec prod -- prefect server start",
    ] {
        assert!(opaque(line), "{line}");
    }
    for line in ["wait-for-it db:5432 -- prefect server start", "tini -g -- prefect server start"] {
        assert!(!opaque(line), "{line}");
    }
    for argv in [
        ["bws", "run", "--", "prefect server start"],
        ["vault", "agent", "-exec", "prefect server start"],
        ["consul-template", "-template=x", "-exec", "prefect server start"],
    ] {
        let invocation = invocation(&argv);
        assert!(invocation.opaque_exports && invocation.calls.len() == 1, "{argv:?}");
    }
    let words: Vec<Word> = ["my-secrets", "prefect", "server", "start"].map(Word::from).to_vec();
    let fillers = ["my-secrets".to_owned()];
    let surroundings =
        Surroundings { names: CommandNames::Folded, fillers: &fillers, lookup: &|_| Known::Unset };
    assert!(read_within(&words, &surroundings, &Budget::of(100)).opaque_exports);
}
