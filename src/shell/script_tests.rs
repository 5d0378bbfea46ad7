//! Branches that known values decide.

use crate::shell::command::Action;
use crate::shell::reading::read;

#[test]
fn a_branch_that_a_known_value_does_not_take_counts_for_nothing() {
    let of = |script: &str, arguments: &[&str]| {
        let mut argv = vec!["sh", "-c", script, "sh"];
        argv.extend(arguments);
        let lookup = |name: &str| (name == "ROLE").then(|| "worker".to_owned());
        let found = read(&argv, &lookup);
        found.calls.iter().map(|call| call.action).collect::<Vec<_>>()
    };
    let server = "prefect server start";
    let (serves, none): (&[Action], &[Action]) = (&[Action::Serve], &[]);
    let cases = [
        ("if [ \"$ROLE\" = server ]; then S; else prefect worker start; fi", none),
        ("if [ \"$ROLE\" = worker ]; then S; fi", serves),
        (
            "if [ $ROLE = agent ]; then x; elif [ $ROLE = server ]; then S; elif true; then y; else S; fi",
            none,
        ),
        ("if [ \"$OTHER\" = server ]; then S; fi", serves),
        ("if [ \"$OTHER\" = server ]; then x; else S; fi", serves),
        ("[ \"$ROLE\" = server ] && S", none),
        ("[ \"$ROLE\" = worker ] && exec prefect worker start; S", none),
        ("[ \"$OTHER\" = worker ] && exec prefect worker start; S", serves),
        ("[ \"$ROLE\" = worker ] || S", none),
        ("test $ROLE != worker && S", none),
        ("if ! [ \"$ROLE\" = worker ]; then S; fi", none),
        ("case $ROLE in server) S;; worker) prefect worker start;; esac", none),
        ("case $ROLE in server|api) S;; *) prefect worker start;; esac", none),
        ("case $ROLE in work*) S;; esac", serves),
        ("case $ROLE in server) x;; *) S;; esac", serves),
        ("case $OTHER in server) S;; *) x;; esac", serves),
        ("case $1 in server) S;; *) x;; esac", none),
        ("case $ROLE in worker) x;& server) S;; esac", serves),
        // What may have been set otherwise decides nothing.
        ("R=worker; if $X; then R=server; fi; if [ $R = server ]; then S; fi", serves),
        ("R=server; if $X; then R=worker; fi; case $R in server) S;; esac", serves),
        ("R=worker; [ -n \"$X\" ] && R=server; [ $R = server ] && S", serves),
        ("while [ $# -gt 0 ]; do case $1 in server) S;; esac; shift; done", serves),
        ("if [ \"${X:-worker}\" = server ]; then S; fi", serves),
        (". /etc/role; if [ $ROLE = server ]; then S; fi", serves),
        ("true() { false; }; if true; then x; else S; fi", serves),
        ("f() { if [ $1 = server ]; then S; fi; }; f worker", none),
        ("f() { if [ $1 = server ]; then S; fi; }; f server", serves),
        ("[ -n \"$ROLE\" ] || { echo usage; exit 1; }; S", serves),
        ("exec prefect worker start; S", none),
        ("exec >/tmp/log; S", serves),
        ("(exec prefect worker start); S", serves),
    ];
    for (script, wanted) in cases {
        assert_eq!(of(&script.replace('S', server), &["worker"]), wanted, "{script}");
    }
    let entrypoint = "case $1 in server) exec prefect server start;; *) exec \"$@\";; esac";
    assert_eq!(of(entrypoint, &["server"]), serves);
    assert_eq!(of(entrypoint, &["prefect", "worker", "start"]), none);
}
