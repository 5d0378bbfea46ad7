//! What a script does before it calls Prefect: whether it installs, sources files, or starts programs.

use crate::shell::command::Preparation;
use crate::shell::options::is_prefect;
use crate::shell::syntax::{Command, Operator};
use crate::shell::word::Word;

/// Programs that do no harm when they are run once more: they print, look, wait or make directories.
const HARMLESS: &[&str] = &[
    ":",
    "[",
    "[[",
    "alias",
    "awk",
    "cat",
    "cd",
    "chmod",
    "chown",
    "command",
    "curl",
    "cut",
    "date",
    "declare",
    "dig",
    "dirname",
    "echo",
    "export",
    "exit",
    "false",
    "for",
    "getent",
    "grep",
    "hash",
    "hostname",
    "id",
    "local",
    "ls",
    "mkdir",
    "nc",
    "ncat",
    "nslookup",
    "pg_isready",
    "popd",
    "printenv",
    "printf",
    "pushd",
    "pwd",
    "read",
    "readlink",
    "readonly",
    "realpath",
    "sed",
    "seq",
    "set",
    "shopt",
    "sleep",
    "stat",
    "test",
    "tr",
    "trap",
    "true",
    "type",
    "typeset",
    "ulimit",
    "umask",
    "unset",
    "wait-for-it",
    "wait-for-it.sh",
    "wget",
    "which",
    "whoami",
];

/// Programs that lead to a database, or are one.
const PROXIES: &[&str] = &[
    "alloydb-auth-proxy",
    "boundary",
    "chisel",
    "cloud-sql-proxy",
    "cloud_sql_proxy",
    "envoy",
    "gost",
    "haproxy",
    "kubectl",
    "pgbouncer",
    "pgcat",
    "postgres",
    "socat",
    "ssh",
    "autossh",
    "stunnel",
    "tailscaled",
    "tsh",
];

/// What the script has done once this command of it is run.
pub(super) fn after(before: Preparation, command: &Command, words: &[Word]) -> Preparation {
    let mut so_far = before;
    let proxy = |word: &Word| word.name().is_some_and(|name| PROXIES.contains(&name));
    if command.after == Operator::Background {
        so_far.starts = true;
        so_far.starts_proxy |= words.iter().any(proxy);
    }
    let start = words.iter().take_while(|word| word.is_assignment()).count();
    let Some((first, rest)) = words[start..].split_first() else { return so_far };
    let name = first.name().unwrap_or_default();
    let says = |wanted: &[&str]| rest.iter().any(|word| word.is_one_of(wanted));
    match name {
        "." | "source" => so_far.sources = true,
        "pip" | "pip3" if says(&["install"]) => packages(&mut so_far, rest),
        "python" | "python3" if says(&["pip"]) && says(&["install"]) => packages(&mut so_far, rest),
        "uv" if says(&["pip"]) && says(&["install"]) => packages(&mut so_far, rest),
        "uv" | "poetry" | "pdm" | "pipenv" | "rye" | "hatch" if says(&["sync", "install", "add", "lock"]) => {
            (so_far.installs, so_far.installs_project) = (true, true);
        }
        "conda" | "mamba" | "micromamba" if says(&["install", "create", "update"]) => {
            (so_far.installs, so_far.installs_project) = (true, true);
        }
        // They go into the background by themselves.
        "service" | "pg_ctl" | "pg_ctlcluster" | "pgbouncer" => {
            (so_far.starts, so_far.starts_proxy) = (true, true);
        }
        "apt-get" | "apt" | "apk" | "dnf" | "yum" | "microdnf" => so_far.installs = true,
        // `ssh -f`, `tailscaled`: they go on beside the script, or it would not get to the server.
        name if PROXIES.contains(&name) => (so_far.starts, so_far.starts_proxy) = (true, true),
        name if HARMLESS.contains(&name) => {}
        _ => so_far.acts = true,
    }
    so_far
}

/// `pip install PACKAGES`.
fn packages(so_far: &mut Preparation, words: &[Word]) {
    so_far.installs = true;
    let is_list = |word: &Word| {
        word.is_one_of(&["-r", "--requirement", "-e", "--editable", "."])
            || word.has_unknown()
            || word.lead().starts_with(['.', '/'])
            || word.lead().starts_with("-r")
            || word.lead().starts_with("--requirement=")
    };
    let names_prefect =
        |word: &Word| is_prefect(word) || word.lead().starts_with("git+") && word.contains("prefect");
    so_far.installs_prefect |= words.iter().any(names_prefect);
    so_far.installs_project |= words.iter().any(is_list);
}

#[cfg(test)]
mod tests {
    use crate::shell::command::Preparation;
    use crate::shell::reading::read;

    fn of(script: &str) -> Preparation {
        read(&["sh", "-c", &format!("{script} prefect server start")], &|_| None).calls[0].preparation
    }

    #[test]
    fn tells_what_a_script_prepares() {
        let none = Preparation::default();
        for script in ["", "cd /app &&", "export A=b; echo hello;", "until nc -z db 5432; do sleep 2; done;"]
        {
            assert_eq!(of(script), none, "{script}");
        }
        for script in
            ["pip install prefect-aws &&", "uv pip install asyncpg;", "apt-get update; apt-get install -y x;"]
        {
            assert_eq!(of(script), Preparation { installs: true, ..none }, "{script}");
        }
        for script in
            ["pip install -r requirements.txt;", "pip install -e .;", "pip install $PACKAGES;", "uv sync;"]
        {
            let wanted = Preparation { installs: true, installs_project: true, ..none };
            assert_eq!(of(script), wanted, "{script}");
        }
        for script in ["pip install -q prefect==3.8.8 x &&", "python -m pip install 'prefect[redis]>=3' &&"] {
            let wanted = Preparation { installs: true, installs_prefect: true, ..none };
            assert_eq!(of(script), wanted, "{script}");
        }
        assert_eq!(of(". /vault/secrets/db &&"), Preparation { sources: true, ..none });
        assert!(of("cloud-sql-proxy --port 5432 x & sleep 5;").starts_proxy);
        assert!(
            of("pg_ctl start;").starts_proxy && of("tail -f /log &").starts && !of("tail &").starts_proxy
        );
        assert!(of("python seed.py;").acts && of("prefect config set A=b;").acts);
    }

    #[test]
    fn keeps_the_text_before_the_call() {
        let before = |script: &str| {
            let invocation = read(&["tini", "--", "sh", "-ec", script], &|_| None);
            let script = invocation.calls[0].script.clone().expect("a call in a script of the argv");
            assert_eq!((script.shell, script.script), (2, 4));
            script.before.map(|text| text.to_string())
        };
        assert_eq!(
            before("pip install x && exec prefect server start").as_deref(),
            Some("pip install x && ")
        );
        assert_eq!(before("A='b'\n. /x\nexec prefect server start").as_deref(), Some("A='b'\n. /x\n"));
        assert_eq!(before("# why\n\"prefect\" server start").as_deref(), Some("# why\n"));
        assert_eq!(before("prefect server start").as_deref(), Some(""));
        for script in [
            "A=b prefect server start",
            "exec gosu app prefect server start",
            "if $X; then prefect server start; fi",
            "{ prefect server start; }",
            "(prefect server start)",
            "f() { prefect server start; }; f",
            "eval 'prefect server start'",
            "sh -c 'prefect server start'",
        ] {
            let found = read(&["sh", "-c", script], &|_| None).calls[0].script.clone();
            assert!(found.is_none_or(|script| script.before.is_none()), "{script}");
        }
    }
}
