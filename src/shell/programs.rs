//! What programs do with the words behind them: one table, by name.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What is known of a program.
#[derive(Clone, Copy)]
pub(super) struct Program {
    /// What it does.
    pub kind: Kind,
    /// Which of its words are scripts.
    pub scripts: Scripts,
}

/// What a program does with the words behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing is known of it.
    Other,
    /// It only prints, looks at or stores what it is given.
    Quiet,
    /// It runs a script: `sh -c SCRIPT`, `sh FILE`.
    Shell,
    /// It runs the words behind its own.
    Wrapper(Wrapper),
    /// `env`.
    Env,
    /// `xargs`: words come from what is piped into it.
    Xargs,
    /// `uv run`: it picks the environment of Python in which the words behind it run.
    Runner,
    /// A Python interpreter.
    Python,
    /// A server of ASGI applications.
    Asgi,
    /// It fills the environment from a store of secrets where one of these words is among its own; where none is
    /// listed, always.
    Filler(&'static [&'static str]),
    /// It runs words in another pod, container or machine.
    Elsewhere,
    /// It switches the user, and may begin a login.
    Switch,
    /// It starts what it is given again whenever that ends, or a file changes.
    Restarter,
}

/// How the words of a wrapper end, and what it does to the environment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Wrapper {
    /// Options whose value is the next word.
    pub values: &'static [&'static str],
    /// Words of its own between its options and the program.
    pub operands: usize,
    /// What becomes of the environment.
    pub effect: Effect,
    /// `NAME=VALUE` may stand before the program.
    pub assigns: bool,
}

/// What a wrapper does to the environment of the program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// It takes everything away when one of these options is given.
    ClearsWith(&'static [&'static str]),
    /// It may take everything away, unless one of these options is given.
    DoubtWithout(&'static [&'static str]),
    /// It sets variables from where we do not see, when one of these options is given; the empty one always is.
    SetsWith(&'static [&'static str]),
}

/// Which words of a program are scripts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scripts {
    /// None that we know of.
    No,
    /// The one behind `-c` or `--command`.
    Option,
    /// Each that has blanks in it.
    Words,
}

const fn wrapper(values: &'static [&'static str], operands: usize, effect: Effect) -> Kind {
    Kind::Wrapper(Wrapper { values, operands, effect, assigns: false })
}

const SUDO: Kind = Kind::Wrapper(Wrapper {
    values: &[
        "-u", "-g", "-h", "-p", "-C", "-r", "-t", "-T", "-U", "-R", "-D", "--user", "--group", "--chdir",
    ],
    operands: 0,
    effect: Effect::DoubtWithout(&["-E", "--preserve-env"]),
    assigns: true,
});

const PLAIN: Kind = wrapper(&["-f", "-o"], 0, Effect::None);
const INIT: Kind = wrapper(&["-p", "-e", "-r", "--rewrite"], 0, Effect::None);
const PRIORITY: Kind = wrapper(&["-n", "-c", "-p", "-i", "-o", "-e"], 0, Effect::None);
const CHPST: Kind = wrapper(
    &["-u", "-U", "-b", "-e", "-/", "-n", "-l", "-L", "-m", "-d", "-o", "-p", "-f", "-c", "-r", "-t"],
    0,
    Effect::SetsWith(&["-e"]),
);
const SETPRIV: Kind = wrapper(
    &[
        "--reuid",
        "--regid",
        "--ruid",
        "--euid",
        "--rgid",
        "--egid",
        "--groups",
        "--inh-caps",
        "--ambient-caps",
        "--bounding-set",
        "--securebits",
        "--pdeathsig",
        "--selinux-label",
        "--apparmor-profile",
    ],
    0,
    Effect::ClearsWith(&["--reset-env"]),
);

/// One row of the table: names, what they do, and which of their words are scripts.
type Row = (&'static [&'static str], Kind, Scripts);

/// The table. A name that is not here is looked at by its ending ([`of`]).
const TABLE: &[Row] = &[
    (
        &["sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "rbash", "fish", "csh", "tcsh"],
        Kind::Shell,
        Scripts::No,
    ),
    (&["tini", "tini-static", "dumb-init", "catatonit", "docker-init"], INIT, Scripts::No),
    (&["exec"], wrapper(&["-a"], 0, Effect::ClearsWith(&["-c"])), Scripts::No),
    (&["command", "nohup", "time", "builtin", "ddtrace-run", "catchsegv", "setsid"], PLAIN, Scripts::No),
    (&["nice", "ionice", "stdbuf", "chrt", "taskset"], PRIORITY, Scripts::No),
    (&["sudo"], SUDO, Scripts::No),
    (&["doas"], wrapper(&["-u", "-C"], 0, Effect::DoubtWithout(&[])), Scripts::No),
    (&["gosu", "su-exec", "setuidgid", "s6-setuidgid", "chroot"], wrapper(&[], 1, Effect::None), Scripts::No),
    (&["chpst"], CHPST, Scripts::No),
    (&["envdir", "s6-envdir"], wrapper(&[], 1, Effect::SetsWith(&[""])), Scripts::No),
    (&["setpriv"], SETPRIV, Scripts::No),
    (&["timeout"], wrapper(&["-s", "-k", "--signal", "--kill-after"], 1, Effect::None), Scripts::No),
    (&["busybox", "toybox", "k3s", "microk8s"], wrapper(&[], 0, Effect::None), Scripts::No),
    (&["env"], Kind::Env, Scripts::No),
    (&["xargs"], Kind::Xargs, Scripts::No),
    (
        &["uv", "poetry", "pdm", "pipenv", "hatch", "rye", "pixi", "conda", "mamba", "micromamba"],
        Kind::Runner,
        Scripts::No,
    ),
    (&["daphne", "granian"], Kind::Asgi, Scripts::No),
    (&["su", "runuser"], Kind::Switch, Scripts::Option),
    (&["flock", "script", "pwsh", "nu", "xonsh", "nix-shell"], Kind::Other, Scripts::Option),
    (&["tmux", "screen", "parallel", "concurrently"], Kind::Other, Scripts::Words),
    (&["watch", "entr"], Kind::Restarter, Scripts::Words),
    (
        &[
            "watchmedo",
            "watchexec",
            "watchfiles",
            "watchman-make",
            "nodemon",
            "reflex",
            "hupper",
            "jurigged",
            "supervise",
            "pm2-runtime",
            "forever",
        ],
        Kind::Restarter,
        Scripts::No,
    ),
    (&["kubectl", "oc", "docker", "podman", "nerdctl", "crictl"], Kind::Elsewhere, Scripts::No),
    (&["ssh"], Kind::Elsewhere, Scripts::Words),
    // Programs that fill the environment from a store of secrets or a file, and run something in it.
    (&["doppler", "infisical"], Kind::Filler(&["run"]), Scripts::Option),
    (
        &["op", "teller", "dotenvx", "vlt", "varlock", "secretspec", "esc", "hcp", "akeyless"],
        Kind::Filler(&["run"]),
        Scripts::No,
    ),
    (
        &[
            "chamber",
            "berglas",
            "aws-vault",
            "vals",
            "direnv",
            "mise",
            "fnox",
            "keeper",
            "ksm",
            "gopass",
            "bw",
        ],
        Kind::Filler(&["exec", "run", "x", "env"]),
        Scripts::No,
    ),
    (&["sops"], Kind::Filler(&["exec-env"]), Scripts::Words),
    (&["bws", "phase"], Kind::Filler(&["run"]), Scripts::Words),
    (&["vault", "bao"], Kind::Filler(&["agent"]), Scripts::Words),
    (&["consul-template", "envconsul"], Kind::Filler(&[]), Scripts::Words),
    (
        &[
            "dotenv",
            "env-cmd",
            "summon",
            "bank-vaults",
            "secrets-init",
            "with-contenv",
            "s6-dotenv",
            "envchain",
            "env-aws-params",
            "awsenv",
            "knox",
            "honcho",
            "foreman",
            "envkey-source",
        ],
        Kind::Filler(&[]),
        Scripts::No,
    ),
    (
        &[
            "echo", "printf", "grep", "egrep", "pgrep", "pkill", "killall", "kill", "which", "type", "man",
            "cat", "sed", "awk", "test", "[", "[[", "true", "false", ":", "sleep", "ls", "cd", "cp", "mv",
            "rm", "mkdir", "chown", "chmod", "ln", "touch", "pip", "pip3", "apt-get", "apk", "git", "curl",
            "wget", "logger", "trap", "alias", "basename", "dirname", "readlink", "realpath", "stat", "find",
            "helm", "helmfile", "argocd", "say", "log", "info", "warn", "die",
        ],
        Kind::Quiet,
        Scripts::No,
    ),
];

/// What is known of the program of this name.
pub(super) fn of(name: &str) -> Program {
    static BY_NAME: LazyLock<BTreeMap<&str, Program>> = LazyLock::new(|| {
        let program = |(names, kind, scripts): &Row| {
            let program = Program { kind: *kind, scripts: *scripts };
            names.iter().map(move |name| (*name, program))
        };
        TABLE.iter().flat_map(program).collect()
    });
    if let Some(program) = BY_NAME.get(name) {
        return *program;
    }
    let kind = match () {
        () if is_python(name) => Kind::Python,
        // uvicorn, gunicorn, hypercorn.
        () if name.ends_with("corn") => Kind::Asgi,
        // vault-env, aws-env, akeyless-env.
        () if name.ends_with("-env") => Kind::Filler(&[]),
        () => Kind::Other,
    };
    Program { kind, scripts: Scripts::No }
}

/// `python3`, `python3.12`, `pypy3`.
pub(crate) fn is_python(name: &str) -> bool {
    let version = name.strip_prefix("python").or_else(|| name.strip_prefix("pypy"));
    version.is_some_and(|version| version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

/// Whether it runs scripts: `sh`, `bash`.
pub(crate) fn is_shell(name: &str) -> bool {
    matches!(of(name).kind, Kind::Shell)
}

/// Whether it runs the words behind its own: `tini`, `env`.
pub(crate) fn runs_what_follows(name: &str) -> bool {
    matches!(of(name).kind, Kind::Wrapper(_) | Kind::Env)
}

/// Whether a program starts what it is given again whenever that ends: a migration under it would never be done.
pub(crate) fn restarts(name: &str) -> bool {
    of(name).kind == Kind::Restarter
}

/// Whether a program serves ASGI applications.
pub(crate) fn serves_applications(name: &str) -> bool {
    of(name).kind == Kind::Asgi
}

/// Whether a program only prints, looks at or stores what it is given.
pub(crate) fn only_prints(name: &str) -> bool {
    of(name).kind == Kind::Quiet
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_stands_in_one_row() {
        let mut seen = BTreeSet::new();
        for name in TABLE.iter().flat_map(|(names, ..)| *names) {
            assert!(seen.insert(name), "{name} stands in two rows");
        }
    }

    #[test]
    fn knows_programs_by_their_ending() {
        for name in ["python", "python3", "python3.12", "pypy3"] {
            assert!(of(name).kind == Kind::Python, "{name}");
        }
        for name in ["uvicorn", "gunicorn", "hypercorn", "daphne"] {
            assert!(of(name).kind == Kind::Asgi, "{name}");
        }
        assert!(of("pythonic").kind == Kind::Other && restarts("watchmedo") && !restarts("sh"));
    }
}
