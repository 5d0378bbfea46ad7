//! Programs that run another program given in their arguments: how their own arguments end, and what they do to the
//! environment.

use std::borrow::Cow;

/// A program that runs the rest of its arguments.
pub(super) struct Wrapper {
    names: &'static [&'static str],
    /// Options whose value is the next word.
    pub values: &'static [&'static str],
    /// Words of its own between its options and the program.
    pub operands: usize,
    /// What becomes of the environment.
    pub effect: Effect,
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
    /// It sets variables from where we do not see, when one of these options is given.
    SetsWith(&'static [&'static str]),
}

const WRAPPERS: &[Wrapper] = &[
    Wrapper {
        names: &["tini", "tini-static", "dumb-init", "catatonit", "docker-init"],
        values: &["-p", "-e", "-r", "--rewrite"],
        operands: 0,
        effect: Effect::None,
    },
    Wrapper { names: &["exec"], values: &["-a"], operands: 0, effect: Effect::ClearsWith(&["-c"]) },
    Wrapper {
        names: &["command", "nohup", "time", "builtin", "ddtrace-run", "catchsegv", "setsid"],
        values: &["-f", "-o"],
        operands: 0,
        effect: Effect::None,
    },
    Wrapper {
        names: &["nice", "ionice", "stdbuf", "chrt", "taskset"],
        values: &["-n", "-c", "-p", "-i", "-o", "-e"],
        operands: 0,
        effect: Effect::None,
    },
    Wrapper {
        names: &["sudo"],
        values: &[
            "-u", "-g", "-h", "-p", "-C", "-r", "-t", "-T", "-U", "-R", "-D", "--user", "--group", "--chdir",
        ],
        operands: 0,
        effect: Effect::DoubtWithout(&["-E", "--preserve-env"]),
    },
    Wrapper { names: &["doas"], values: &["-u", "-C"], operands: 0, effect: Effect::DoubtWithout(&[]) },
    Wrapper {
        names: &["gosu", "su-exec", "setuidgid", "s6-setuidgid", "chroot"],
        values: &[],
        operands: 1,
        effect: Effect::None,
    },
    Wrapper {
        names: &["chpst"],
        values: &[
            "-u", "-U", "-b", "-e", "-/", "-n", "-l", "-L", "-m", "-d", "-o", "-p", "-f", "-c", "-r", "-t",
        ],
        operands: 0,
        effect: Effect::SetsWith(&["-e"]),
    },
    Wrapper { names: &["envdir", "s6-envdir"], values: &[], operands: 1, effect: Effect::SetsWith(&[""]) },
    Wrapper {
        names: &["setpriv"],
        values: &[
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
        operands: 0,
        effect: Effect::ClearsWith(&["--reset-env"]),
    },
    Wrapper {
        names: &["timeout"],
        values: &["-s", "-k", "--signal", "--kill-after"],
        operands: 1,
        effect: Effect::None,
    },
    Wrapper {
        names: &["busybox", "toybox", "k3s", "microk8s"],
        values: &[],
        operands: 0,
        effect: Effect::None,
    },
];

/// What is known of the wrapper of this name.
pub(super) fn wrapper(name: &str) -> Option<&'static Wrapper> {
    WRAPPERS.iter().find(|wrapper| wrapper.names.contains(&name))
}

/// Whether one of the `wanted` options (`-E`, `--preserve-env`) is among `options`; the empty one always is.
pub(super) fn has_option(options: &[Cow<'_, str>], wanted: &[&str]) -> bool {
    let given = |wanted: &str| {
        options.iter().any(|option| match wanted.strip_prefix('-') {
            Some(letter) if letter.len() == 1 => {
                option.starts_with('-') && !option.starts_with("--") && option.contains(letter)
            }
            _ => **option == *wanted,
        })
    };
    wanted.iter().any(|wanted| wanted.is_empty() || given(wanted))
}

/// Runners that set the interpreter for what they run.
pub(crate) fn is_runner(name: &str) -> bool {
    matches!(
        name,
        "uv" | "poetry" | "pdm" | "pipenv" | "hatch" | "rye" | "pixi" | "conda" | "mamba" | "micromamba"
    )
}

/// Programs that fill the environment from a store of secrets.
pub(super) fn sets_variables(name: &str, arguments: &[Cow<'_, str>]) -> bool {
    let first = arguments.iter().find(|word| !word.starts_with('-')).map(|word| &**word);
    match name {
        "doppler" | "infisical" | "op" | "teller" | "dotenv" => first == Some("run"),
        "chamber" | "berglas" | "aws-vault" | "vals" => first == Some("exec"),
        "sops" => matches!(first, Some("exec-env")),
        "envconsul" | "summon" | "vault-env" | "secrets-init" | "with-contenv" => true,
        _ => false,
    }
}

/// Programs that run what they are given in another pod, container or machine.
pub(super) fn runs_elsewhere(name: &str) -> bool {
    matches!(name, "kubectl" | "oc" | "docker" | "podman" | "nerdctl" | "crictl" | "ssh")
}

/// Programs that switch the user and may begin a login: its environment is the user's own.
pub(super) fn is_switch(name: &str) -> bool {
    matches!(name, "su" | "runuser")
}

/// Programs that take a script with `-c` or `--command`.
pub(super) fn takes_script_option(name: &str) -> bool {
    matches!(
        name,
        "su" | "runuser"
            | "flock"
            | "script"
            | "doppler"
            | "infisical"
            | "pwsh"
            | "nu"
            | "xonsh"
            | "nix-shell"
    )
}

/// Programs of which a word with blanks in it is a script as it stands.
pub(super) fn takes_scripts(name: &str) -> bool {
    matches!(name, "watch" | "sops" | "tmux" | "screen" | "parallel" | "concurrently" | "ssh" | "entr")
}

/// Servers of ASGI applications: `uvicorn`, `gunicorn` and their like.
pub(crate) fn is_asgi_server(name: &str) -> bool {
    name.ends_with("corn") || matches!(name, "daphne" | "granian")
}
