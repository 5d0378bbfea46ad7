//! What is a server, what is not, and how it is called.

use super::*;
use crate::shell::command::{Action, Change, Program};

fn invocation(argv: &[&str]) -> Invocation {
    read(argv, &|name| (name == "START").then(|| "prefect server start".to_owned()))
}

fn actions(argv: &[&str]) -> Vec<Action> {
    invocation(argv).calls.iter().map(|call| call.action).collect()
}

#[test]
fn finds_servers_behind_wrappers() {
    let servers: &[&[&str]] = &[
        &["prefect", "server", "start", "--host", "0.0.0.0"],
        &["/opt/venv/bin/prefect", "server", "start"],
        &["prefect", "--profile", "prod", "server", "start"],
        &["prefect", "--no-prompt", "orion", "start"],
        &["/usr/bin/tini", "-g", "--", "/opt/prefect/entrypoint.sh", "prefect", "server", "start"],
        &["env", "-u", "X", "A=b", "prefect", "server", "start"],
        &["uv", "run", "--frozen", "--project", "/app", "prefect", "server", "start"],
        &["poetry", "run", "prefect", "server", "start"],
        &["conda", "run", "-n", "base", "--no-capture-output", "prefect", "server", "start"],
        &["python3.12", "-u", "-X", "dev", "-m", "prefect", "server", "start"],
        &["sh", "-c", "prefect server start"],
        &["/bin/bash", "-euo", "pipefail", "-c", "cd /x && exec prefect server start --host 0.0.0.0"],
        &["bash", "-lc", "source /venv/bin/activate; prefect server start"],
        &["/bin/sh", "-c", "exec \"$@\"", "--", "prefect", "server", "start"],
        &["/bin/sh", "-c", "$START --port 4200"],
        &["/bin/sh", "-c", "P=prefect; exec $P server start"],
        &["/bin/sh", "-c", "eval 'prefect server start'"],
        &["/bin/sh", "-c", "A=b C=d prefect server start"],
        &["wait-for-it", "db:5432", "--", "prefect", "server", "start"],
        &["uvicorn", "--factory", "prefect.server.api.server:create_app", "--port", "4200"],
        &["python", "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"],
        &["gunicorn", "-k", "uvicorn.workers.UvicornWorker", "prefect.server.api.server:create_app()"],
        &["bash", "/opt/prefect/entrypoint.sh", "prefect", "server", "start"],
        &["timeout", "-s", "TERM", "3600", "prefect", "server", "start"],
        &["env", "-S", "A=b prefect server start"],
        &["env", "--split-string=prefect server", "start"],
        &["python", "-Im", "prefect", "server", "start"],
        &["python", "-mprefect", "server", "start"],
        &["python3", "-u", "/usr/local/bin/prefect", "server", "start"],
        &["uvicorn", "--factory", "prefect.server.api.server:create_app(ephemeral=True)"],
        &["su", "-", "prefect", "-c", "prefect server start"],
        &["sh", "-c", "pre''fect \"server\" st\\art"],
        &["sh", "-c", "${CMD:-prefect server start}"],
        &["sh", "-c", "exec ${P:-prefect} server start"],
        &["sh", "-c", "p=refect; p$p server start"],
        &["sh", "-c", "set -- prefect server start; exec \"$@\""],
        &["sh", "-c", "$0 $1 $2", "prefect", "server", "start"],
        &["sh", "-c", "eval 'exec \"$@\"'", "sh", "prefect", "server", "start"],
        &["sh", "-c", "exec sh -c \"$START\""],
        &["bash", "-c", "$'prefect' $\"server\" start"],
        &["sh", "-c", "trap 'prefect server start' EXIT; true"],
        &["sh", "-c", "f() { prefect server start; }; f"],
        &["sh", "-c", "case a in a) prefect server start;; esac"],
        &["sh", "-c", "exec prefect server start \"unclosed"],
        &["bash", "-c", "IFS=$'\\n\\t'; prefect server start"],
    ];
    for argv in servers {
        assert_eq!(actions(argv), [Action::Serve], "{argv:?}");
    }
    assert_eq!(actions(&["prefect", "server", "services", "start"]), [Action::Services]);
}

#[test]
fn leaves_everything_else_alone() {
    let others: &[&[&str]] = &[
        &["prefect", "worker", "start", "--pool", "k8s"],
        &["prefect", "agent", "start", "-q", "default"],
        &["prefect", "dev", "start"],
        &["prefect", "server", "stop"],
        &["prefect", "flow-run", "execute"],
        &["prefect", "server"],
        &["python", "-m", "prefect.engine"],
        &["python", "-m", "app.flows.serve"],
        &["echo", "prefect", "server", "start"],
        &["sh", "-c", "echo prefect server start"],
        &["sh", "-c", "# prefect server start\nprefect worker start"],
        &["sh", "-c", "until curl -f http://prefect server start; do sleep 1; done"],
        &["my-prefect", "server", "start"],
        &["prefect\u{0430}", "server", "start"],
        &["Prefect", "server", "start"],
        &["uvicorn", "app:prefect"],
        &[],
        &["sh", "-c"],
    ];
    for argv in others {
        assert_eq!(actions(argv), [], "{argv:?}");
    }
}

#[test]
fn finds_database_commands_in_order() {
    let argv = ["sh", "-c", "prefect server database upgrade -y && exec prefect server start"];
    assert_eq!(actions(&argv), [Action::Upgrade, Action::Serve]);
    assert!(invocation(&argv).upgrades_first());
    let argv = ["sh", "-c", "prefect server start; prefect server database upgrade -y"];
    assert!(!invocation(&argv).upgrades_first());
    assert_eq!(actions(&["prefect", "server", "database", "reset", "-y"]), [Action::Reset]);
    assert_eq!(actions(&["sh", "-c", "yes | prefect orion database downgrade"]), [Action::Downgrade]);
    assert_eq!(actions(&["sh", "-c", "x=$(prefect server database reset -y)"]), [Action::Reset]);
    assert_eq!(
        actions(&["kubectl", "exec", "deploy/x", "--", "prefect", "server", "database", "reset"]),
        [Action::Reset]
    );
    assert_eq!(actions(&["kubectl", "run", "x", "--", "prefect", "server", "start"]), []);
    for options in ["--help", "-y --dry-run", "-y -r 3", "-y --revision=base"] {
        let line = format!("prefect server database upgrade {options}");
        assert_eq!(actions(&line.split(' ').collect::<Vec<_>>()), [Action::OtherDatabase], "{options}");
    }
    assert_eq!(actions(&["prefect", "server", "database", "upgrade", "-y", "-r", "head"]), [Action::Upgrade]);
    assert_eq!(actions(&["xargs", "prefect", "server", "database", "stamp"]), [Action::Stamp]);
}

#[test]
fn tells_where_the_call_stands_in_the_argv() {
    let at = |argv: &[&str]| {
        let position = invocation(argv).calls[0].position.expect("a call in the argv itself");
        (position.program, position.subcommand, position.in_runner, position.program_kind)
    };
    assert_eq!(at(&["prefect", "server", "start"]), (0, 1, false, Program::Prefect));
    assert_eq!(
        at(&["tini", "--", "prefect", "--profile", "x", "server", "start"]),
        (2, 5, false, Program::Prefect)
    );
    assert_eq!(at(&["uv", "run", "prefect", "server", "start"]), (2, 3, true, Program::Prefect));
    assert_eq!(at(&["python", "-m", "prefect", "server", "start"]), (0, 3, false, Program::PythonModule));
    assert_eq!(invocation(&["sh", "-c", "prefect server start"]).calls[0].position, None);
}

#[test]
fn reads_what_a_script_exports() {
    let script =
        "export A=\"x\" B='y z'; export C=$A-1; export D=$(cat /secret)\nprefect server start; E=late";
    assert_eq!(exported(&["sh", "-c", script]), ["A=x", "B=y z", "C=x-1", "D=?"]);
    assert!(!invocation(&["sh", "-c", script]).opaque_exports);
    let sourced = self::invocation(&["bash", "-c", ". /vault/secrets/db && prefect server start"]);
    assert!(sourced.opaque_exports);
}

#[test]
fn reads_profiles_and_config_set() {
    let script =
        "prefect config set PREFECT_API_DATABASE_CONNECTION_URL=sqlite:///x; prefect -p prod server start";
    let invocation = invocation(&["sh", "-c", script]);
    assert_eq!(invocation.profile_settings.len(), 1);
    assert_eq!(invocation.server().and_then(|call| call.profile.as_ref()?.known()), Some("prod"));
}

#[test]
fn says_when_it_cannot_read() {
    assert!(invocation(&["sh", "/start.sh"]).unreadable);
    assert!(invocation(&["sh", "-c", "prefect 'server start"]).unreadable);
    assert!(invocation(&["/app/run.sh"]).unreadable);
    assert!(invocation(&["sh", "-c", "echo cHJlZmVjdA== | base64 -d | sh"]).unreadable);
    assert!(invocation(&["sh", "-c", "$(cat /name) server start"]).unreadable);
    assert!(invocation(&["bash", "-c", "$'\\x70refect' server start"]).unreadable);
    assert!(invocation(&["python", "/app/serve.py"]).unreadable);
}

/// What the main call sees changed: `NAME=VALUE`, `-NAME`, `-*` for everything, `?` for what cannot be read.
fn exported(argv: &[&str]) -> Vec<String> {
    let shown = |change: &Change| match change {
        Change::Set { name, value, exported: true } => format!("{name}={}", value.as_deref().unwrap_or("?")),
        Change::Set { name, .. } => format!("({name})"),
        Change::Unset(name) => format!("-{name}"),
        Change::Clear => "-*".to_owned(),
        Change::Doubt => "?*".to_owned(),
    };
    invocation(argv).changes_before_main().iter().map(shown).collect()
}

#[test]
fn tries_every_word_that_names_prefect() {
    let servers = [
        "runuser -u prefect -- prefect server start",
        "s6-setuidgid prefect prefect server start",
        "chpst -u prefect prefect server start",
        "doas -u prefect prefect server start",
        "sudo -Eu prefect prefect server start",
        "sudo -u prefect -E prefect server start",
        "setpriv --reuid prefect --clear-groups prefect server start",
        "pixi run --environment prefect prefect server start",
        "start-stop-daemon --start --chuid prefect --exec /usr/bin/prefect -- server start",
        "chroot --userspec=prefect / prefect server start",
        "docker-wait prefect:5432 prefect server start",
    ];
    for argv in servers {
        let argv: Vec<&str> = argv.split(' ').collect();
        assert_eq!(actions(&argv), [Action::Serve], "{argv:?}");
    }
    let resets = [
        "kubectl -n prefect exec deploy/prefect-server -- prefect server database reset -y",
        "kubectl exec -n prefect deploy/x -- prefect server database reset -y",
        "kubectl exec deploy/prefect -- prefect server database reset -y",
        "kubectl exec prefect-0 -c prefect -- prefect server database reset -y",
        "docker exec prefect prefect server database reset -y",
        "kubectl run prefect --image=x -- prefect server database reset -y",
        "k3s kubectl exec prefect-0 -- prefect server database reset -y",
    ];
    for argv in resets {
        let argv: Vec<&str> = argv.split(' ').collect();
        assert_eq!(actions(&argv), [Action::Reset], "{argv:?}");
        assert!(invocation(&argv).is_elsewhere(), "{argv:?}");
    }
}

#[test]
fn reads_what_stands_behind_unknown_wrappers() {
    let servers: &[&[&str]] = &[
        &["wait-for-it", "db:5432", "--", "sh", "-c", "prefect server start"],
        &["dockerize", "-wait", "tcp://db:5432", "bash", "-lc", "prefect server start"],
        &["doppler", "run", "--", "sh", "-c", "exec prefect server start"],
        &["/vault/vault-env", "sh", "-c", "prefect server start"],
        &["unshare", "-r", "sh", "-c", "prefect server start"],
        &["nsenter", "-t", "1", "-m", "--", "sh", "-c", "prefect server start"],
        &["chroot", "--userspec=1:1", "/", "sh", "-c", "prefect server start"],
        &["wait-for-it", "db:5432", "--", "python", "-m", "prefect", "server", "start"],
        &["wait-for-it", "db:5432", "--", "env", "A=b", "prefect", "server", "start"],
        &["/vault/vault-env", "uvicorn", "--factory", "prefect.server.api.server:create_app"],
        &["sh", "/app/wait.sh", "db:5432", "--", "prefect", "server", "start"],
        &["hypercorn", "asgi:prefect.server.api.server:create_app()"],
    ];
    for argv in servers {
        assert_eq!(actions(argv), [Action::Serve], "{argv:?}");
    }
    for shell in [["sh", "-c"], ["bash", "-lc"]] {
        let argv = ["kubectl", "exec", "p", "--", shell[0], shell[1], "prefect server database reset -y"];
        assert_eq!(actions(&argv), [Action::Reset], "{argv:?}");
    }
}

#[test]
fn skips_global_options_wherever_they_stand() {
    let reset = ["prefect", "server", "database", "--profile", "ephemeral", "reset", "-y"];
    assert_eq!(actions(&reset), [Action::Reset]);
    for argv in [
        ["prefect", "server", "--profile", "ephemeral", "start"],
        ["prefect", "-p", "ephemeral", "server", "start"],
        ["prefect", "server", "start", "--profile", "ephemeral"],
    ] {
        assert_eq!(actions(&argv), [Action::Serve], "{argv:?}");
        assert_eq!(
            invocation(&argv).calls[0].profile.as_ref().and_then(Word::known),
            Some("ephemeral"),
            "{argv:?}"
        );
    }
    for name in ["start", "enable", "manager"] {
        assert_eq!(actions(&["prefect", "server", "services", name]), [Action::Services]);
    }
    assert_eq!(actions(&["prefect", "server", "services", "ls"]), []);
}

#[test]
fn looks_behind_python_modules_that_run_others() {
    let servers = [
        "python -m debugpy --listen 0.0.0.0:5678 -m prefect server start",
        "python -m coverage run -m prefect server start",
        "python -m memray run -m prefect server start",
        "python -m cProfile -o /tmp/x /usr/local/bin/prefect server start",
        "python -m pdb -m prefect server start",
        "python -m uv run prefect server start",
        "python -m poetry run prefect server start",
        "python -m opentelemetry.instrumentation.auto_instrumentation prefect server start",
        "python --check-hash-based-pycs always -m prefect server start",
        "uvx prefect@3.8.8 server start",
        "uv tool run prefect@latest server start",
        "pipx run prefect==3.8.8 server start",
        "hatch run dev:prefect server start",
        "prefect.exe server start",
        "uvx prefect[redis] server start",
        "coverage run -m prefect server start",
        "uv run -m prefect server start",
        "uv run --module prefect server start",
    ];
    for argv in servers {
        let argv: Vec<&str> = argv.split(' ').collect();
        assert_eq!(actions(&argv), [Action::Serve], "{argv:?}");
    }
}

#[test]
fn says_when_a_sub_command_is_not_shown() {
    for argv in [vec!["prefect", "?", "start"], vec!["prefect", "?"]] {
        let word = |text: &&str| if *text == "?" { Word::unknown() } else { Word::from(*text) };
        let words: Vec<Word> = argv.iter().map(word).collect();
        let surroundings =
            Surroundings { names: CommandNames::Exact, fillers: &[], lookup: &|_| Known::Unset };
        let invocation = read_within(&words, &surroundings, &Budget::of(100));
        assert!(invocation.undecided && invocation.calls.is_empty(), "{argv:?}");
    }
    for argv in [
        vec!["sh", "-c", "exec prefect $ROLE start"],
        vec!["sh", "-c", "prefect server $ACTION"],
        vec!["sh", "-c", "for c in start stop; do prefect server $c; done"],
        vec!["sh", "-c", "a=(server start); prefect \"${a[@]}\""],
        vec!["sh", "-c", "prefect server {start,}"],
        vec!["sh", "-c", "cat /x | xargs prefect server"],
        vec!["sh", "-c", "read c; prefect server $c"],
        vec!["mytool", "--run", "prefect server start"],
    ] {
        assert!(invocation(&argv).undecided && actions(&argv).is_empty(), "{argv:?}");
    }
    for argv in [
        vec!["sh", "-c", "prefect worker start --pool $POOL"],
        vec!["sh", "-c", "prefect worker $ACTION"],
        vec!["sh", "-c", "prefect deploy --name $NAME"],
        vec!["prefect", "server"],
    ] {
        assert!(!invocation(&argv).undecided, "{argv:?}");
    }
}

#[test]
fn follows_scripts() {
    let servers = [
        "for c in start; do prefect server $c; done",
        "prefect server $(echo start)",
        "exec $(which prefect) server start",
        "exec `command -v prefect` server start",
        "run() { exec prefect \"$@\"; }; run server start",
        "function run { prefect server \"$1\"; }\nrun start",
        "set -- x server start; shift; exec prefect \"$@\"",
        "set -- x server start; exec prefect \"${@:2}\"",
        "set server start; exec prefect \"$@\"",
        "echo start | xargs prefect server",
        "echo 'prefect server start' | sh",
        "alias p='prefect server'\np start",
        "trap -- 'prefect server start' EXIT",
        "prefect $FLAGS server start",
        "$MAYBE prefect server start",
        "env $(cat .env) prefect server start",
        "watch 'prefect server start'",
        "su -lc 'prefect server start' prefect",
        "su --command='prefect server start' prefect",
        "script -qc 'prefect server start'",
        "doppler run --command 'prefect server start'",
        "sops exec-env f 'prefect server start'",
        "tmux new-session 'prefect server start'",
        "concurrently 'prefect server start' 'x'",
        "true && prefect server start",
        "env -u X -S 'prefect server start'",
        "command prefect server start",
        "bash -c 'exec \"$@\"' x prefect server start",
        "x='$y'; y='server'; prefect $y start",
    ];
    for script in servers {
        assert_eq!(actions(&["sh", "-c", script]), [Action::Serve], "{script}");
    }
    assert_eq!(actions(&["sh", "-c", "echo reset -y | xargs prefect server database"]), [Action::Reset]);
    let none = [
        "log() { echo \"$@\"; }; log prefect server start done; exec prefect worker start",
        "say prefect server start",
        "helm upgrade --install prefect server start",
        "echo '$START'",
        "false && prefect server start",
        "ssh host 'prefect server start'",
    ];
    for script in none {
        assert_eq!(actions(&["sh", "-c", script]), [], "{script}");
    }
}

#[test]
fn knows_what_wrappers_do_to_the_environment() {
    let cases: &[(&str, &[&str])] = &[
        ("env -i prefect server start", &["-*"]),
        ("env - A=b prefect server start", &["-*", "A=b"]),
        ("env --ignore-environment prefect server start", &["-*"]),
        ("env -u URL prefect server start", &["-URL"]),
        ("env -uURL --unset=B prefect server start", &["-URL", "-B"]),
        ("env --unset URL prefect server start", &["-URL"]),
        ("env -iS 'A=b prefect server start'", &["-*", "A=b"]),
        ("sudo prefect server start", &["?*"]),
        ("sudo -u app prefect server start", &["?*"]),
        ("doas -u app prefect server start", &["?*"]),
        ("sudo -E prefect server start", &[]),
        ("sudo -Eu app prefect server start", &[]),
        ("sudo --preserve-env prefect server start", &[]),
        ("sudo --preserve-env=PREFECT_API_DATABASE_CONNECTION_URL prefect server start", &[]),
        ("su - app -c 'prefect server start'", &["-*"]),
        ("su -l app -c 'prefect server start'", &["-*"]),
        ("runuser -l app -c 'prefect server start'", &["-*"]),
        ("su app -c 'prefect server start'", &[]),
        ("setpriv --reset-env prefect server start", &["-*"]),
        ("unset URL; prefect server start", &["-URL"]),
        ("[ -n \"$X\" ] && unset PREFECT_X; prefect server start", &["?*"]),
        ("if [ -n \"$X\" ]; then unset PREFECT_X B; fi; unset A; prefect server start", &["?*", "-B", "-A"]),
        ("unset $(cat /names); prefect server start", &["?*"]),
        ("export -n URL; prefect server start", &["(URL)"]),
        ("exec -c prefect server start", &["-*"]),
        ("A=b true; prefect server start", &[]),
        ("A=b prefect server start", &["A=b"]),
        ("(export A=b); prefect server start", &[]),
        ("(export A=b; prefect server start)", &["A=b"]),
        ("A=b; prefect server start", &["(A)"]),
        ("A=b; export A; prefect server start", &["(A)", "A=b"]),
        ("export A; A=c; prefect server start", &["A=c"]),
        ("su -c 'prefect server start' - app", &["-*"]),
        ("set -a; A=b; prefect server start", &["A=b"]),
        ("START=b; prefect server start", &["START=b"]),
        ("f() { export A=b; }; f; prefect server start", &["A=b"]),
        ("x=$(export A=b); prefect server start", &["(x)"]),
        ("export A='$B' C=\"$START\"; prefect server start", &["A=$B", "C=prefect server start"]),
    ];
    for (script, wanted) in cases {
        assert_eq!(exported(&["sh", "-c", script]), *wanted, "{script}");
    }
    assert!(invocation(&["doppler", "run", "--", "prefect", "server", "start"]).opaque_exports);
}

#[test]
fn an_upgrade_that_may_fail_unnoticed_is_none() {
    for script in [
        "prefect server database upgrade -y || true",
        "prefect server database upgrade -y || echo failed",
        "prefect server database upgrade -y & true",
        "prefect server database upgrade -y; exit 0",
        "prefect server database upgrade -y -rbase",
        "prefect server database upgrade -y -r=base",
        "prefect server database upgrade -y --dry-run=true",
    ] {
        assert_eq!(actions(&["sh", "-c", script]), [Action::OtherDatabase], "{script}");
    }
    for script in [
        "prefect server database upgrade -y || exit 1",
        "prefect server database upgrade -y || { echo failed; exit 1; }",
        "set -e; prefect server database upgrade -y; exit 0",
        "until prefect server database upgrade -y; do sleep 2; done",
        "prefect server database upgrade -y -rhead && echo done",
    ] {
        assert_eq!(actions(&["sh", "-c", script]), [Action::Upgrade], "{script}");
    }
    assert_eq!(actions(&["sh", "-c", "false && prefect server database upgrade -y; exit 0"]), []);
    assert_eq!(actions(&["basename", "-a", "prefect", "server", "database", "upgrade", "-y"]), []);
}

#[test]
fn a_second_server_has_its_own_environment() {
    let script = "prefect server start & export A=b; prefect server start";
    let invocation = invocation(&["sh", "-c", script]);
    assert_eq!(invocation.other_servers().count(), 1);
}

#[test]
fn what_a_few_bytes_ask_for_is_bounded() {
    let mut doubling = "A0=xxxxxxxx\n".to_owned();
    for i in 1..27 {
        doubling += &format!("A{i}=$A{0}$A{0}\n", i - 1);
    }
    doubling += "prefect $A26 server start";
    let started = invocation(&["sh", "-c", &doubling]);
    assert_eq!(started.calls.len(), 1);

    let mut calling = "f0() { prefect worker start; }\n".to_owned();
    for i in 1..40 {
        calling += &format!("f{i}() {{ f{0}; f{0}; }}\n", i - 1);
    }
    assert!(invocation(&["sh", "-c", &(calling + "f39")]).unreadable);

    // In seconds, or past the end of the stack, where a step were taken for each pair of words.
    let many = 1 << 12;
    let nested: Vec<&str> = std::iter::once("env").chain(std::iter::repeat_n("-Senv", many)).collect();
    assert!(invocation(&nested).unreadable);
    for word in [
        "--",
        "prefect",
        "-p",
        "sh",
        "sh -x",
        "env",
        "python",
        "kubectl",
        "prefect -",
        "sudo",
        "A=b",
        "uvicorn",
        "$@",
    ] {
        for first in ["wait", "sh", "env", "su", "python", "prefect", "uv", "kubectl"] {
            let argv: Vec<&str> = std::iter::once(first).chain(word.split(' ').cycle().take(many)).collect();
            invocation(&argv);
            invocation(&["sh", "-c", &argv.join(" ")]);
            invocation(&["sh", "-c", &argv.join(";")]);
        }
    }
    for piece in
        ["${", "${A:-", "(", "{ ", "$A", "f() {", "`", "<<A ", "A=$A$A;", "export A=$B B=$A ", "\"$@\" "]
    {
        invocation(&["sh", "-c", &piece.repeat(many), "x", "y"]);
    }
}
