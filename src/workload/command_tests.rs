//! What is a server, what is not, and how it is called.

use super::*;

fn invocation(argv: &[&'static str]) -> Invocation<'static> {
    read(argv, &|name| (name == "START").then(|| "prefect server start".to_owned()))
}

fn actions(argv: &[&'static str]) -> Vec<Action> {
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
    for option in ["--help", "--dry-run", "-r", "--revision=base"] {
        assert_eq!(
            actions(&["prefect", "server", "database", "upgrade", option, "3"]),
            [Action::OtherDatabase]
        );
    }
    assert_eq!(actions(&["prefect", "server", "database", "upgrade", "-y", "-r", "head"]), [Action::Upgrade]);
    assert_eq!(actions(&["xargs", "prefect", "server", "database", "stamp"]), [Action::OtherDatabase]);
}

#[test]
fn tells_where_the_call_stands_in_the_argv() {
    let at = |argv: &[&'static str]| {
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
    let script = "export A=\"x\" B='y z'; C=$A-1; D=$(cat /secret)\nprefect server start; E=late";
    let invocation = invocation(&["sh", "-c", script]);
    let exports: Vec<_> =
        invocation.exports_before_main().iter().map(|(n, v)| (n.as_ref(), v.as_deref())).collect();
    assert_eq!(exports, [("A", Some("x")), ("B", Some("y z")), ("C", Some("x-1")), ("D", None)]);
    assert!(!invocation.opaque_exports);
    let sourced = self::invocation(&["bash", "-c", ". /vault/secrets/db && prefect server start"]);
    assert!(sourced.opaque_exports);
}

#[test]
fn reads_profiles_and_config_set() {
    let script =
        "prefect config set PREFECT_API_DATABASE_CONNECTION_URL=sqlite:///x; prefect -p prod server start";
    let invocation = invocation(&["sh", "-c", script]);
    assert_eq!(invocation.profile_settings.len(), 1);
    assert_eq!(invocation.server().and_then(|call| call.profile.as_deref()), Some("prod"));
}

#[test]
fn says_when_it_cannot_read() {
    assert!(invocation(&["sh", "/start.sh"]).unreadable);
    assert!(invocation(&["sh", "-c", "prefect 'server start"]).unreadable);
    assert!(invocation(&["/app/run.sh"]).unreadable);
    assert!(invocation(&["sh", "-c", "echo cHJlZmVjdA== | base64 -d | sh"]).unreadable);
    assert!(invocation(&["sh", "-c", "$(echo prefect) server start"]).unreadable);
    assert!(invocation(&["bash", "-c", "$'\\x70refect' server start"]).unreadable);
    assert!(invocation(&["python", "/app/serve.py"]).unreadable);
}
