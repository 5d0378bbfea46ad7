//! What a container runs: the calls of Prefect that came out of reading its command line.
//!
//! The image's name and the container's name say nothing here: a worker runs the same image. Sources: the Prefect
//! CLI (`prefect/cli/server.py`), the image's entrypoint (`/usr/bin/tini -g -- /opt/prefect/entrypoint.sh`).

use std::fmt;
use std::sync::Arc;

pub use crate::shell::changes::Change;
use crate::shell::word::Word;

/// What a Prefect call does, as far as it matters to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// `prefect server start`, or an ASGI server that serves `prefect.server.api.server:create_app`.
    Serve,
    /// `prefect server services start`: background services on the same database.
    Services,
    /// `prefect server database upgrade`, all the way.
    Upgrade,
    /// `prefect server database reset`: drops everything.
    Reset,
    /// `prefect server database downgrade`.
    Downgrade,
    /// `prefect server database stamp`: writes down that the schema is up to date, whether it is or not.
    Stamp,
    /// `prefect server database revision`: writes a new migration.
    Revision,
    /// An upgrade that cannot work: [`Call::failure`] says why.
    BrokenUpgrade,
    /// `prefect server database upgrade --dry-run` and the like.
    OtherDatabase,
}

impl Action {
    /// A server, or something that needs its schema as a server does.
    pub fn is_server(self) -> bool {
        matches!(self, Action::Serve | Action::Services)
    }

    /// Something that loses data, or leaves a schema that is not what the database says it is.
    pub fn destroys(self) -> bool {
        matches!(self, Action::Reset | Action::Downgrade | Action::Stamp | Action::Revision)
    }
}

/// Why an upgrade cannot work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It asks for confirmation, and nobody is there to answer.
    Unconfirmed,
    /// It has no such option.
    UnknownOption(String),
    /// It takes no such word.
    UnexpectedWord(String),
    /// Prefect has no such command; these are its words.
    NoSuchCommand(String),
}

/// How `prefect` is called in an argv.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Index of the token that starts Prefect: `prefect`, `python` (of `python -m prefect`) or the ASGI server.
    pub program: usize,
    /// Index of the first token of the sub-command (`server`), after global options; for an ASGI server the same
    /// as `program`.
    pub subcommand: usize,
    /// Started through a runner that sets the interpreter (`uv run`, `poetry run`…).
    pub in_runner: bool,
    /// What kind of token `program` is.
    pub program_kind: Program,
}

/// What starts Prefect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The `prefect` console script.
    Prefect,
    /// `python … -m prefect`.
    PythonModule,
    /// A program that runs Prefect in its own process: `uvicorn`, `gunicorn`, `coverage run -m prefect`.
    Asgi,
    /// The same, itself run by `python … -m`: `python -m uvicorn`.
    AsgiModule,
    /// `uv run -m prefect`: a module that a runner starts; `program` is the option before it.
    RunnerModule,
    /// `uvx prefect@3.8.8`: a tool fetches it, so that no other program of its environment can be named.
    Packaged,
}

/// One Prefect call of a container.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    /// What it does.
    pub action: Action,
    /// `prefect orion …` of Prefect before 2.8.
    pub orion: bool,
    /// Where it stands in the container's own argv; `None` inside a shell script.
    pub position: Option<Position>,
    /// `--profile NAME`, when given.
    pub profile: Option<Word>,
    /// The words by which Prefect is called: `prefect`, `/venv/bin/python -m prefect`.
    pub words: Vec<Word>,
    /// The words behind the sub-command: its options.
    pub options: Vec<Word>,
    /// What decides which program these words find.
    pub whereabouts: Whereabouts,
    /// What wrappers and the script have done to the environment when it is made, in order.
    pub changes: Arc<[Change]>,
    /// Why it cannot work, for an upgrade that cannot.
    pub failure: Option<Failure>,
    /// It is run whenever the container is: it stands in no branch that may not be taken.
    pub certain: bool,
    /// Where it stands in a script that is a word of the container's argv.
    pub script: Option<InScript>,
    /// What the script does before it.
    pub preparation: Preparation,
    /// It happens in another pod (`kubectl exec … -- prefect …`): nothing of this container concerns it.
    pub elsewhere: bool,
}

/// What decides which program a word finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Whereabouts {
    /// The working directory is no longer the container's.
    pub moved: bool,
    /// Programs are looked up elsewhere than the image does: another `PATH`, a virtual environment.
    pub path_changed: bool,
    /// A runner (`uv run`) picks the environment.
    pub in_runner: bool,
}

/// Where a call stands in a script that is a word of the container's own argv.
#[derive(Clone, PartialEq, Eq)]
pub struct InScript {
    /// Index of the shell.
    pub shell: usize,
    /// Index of the script.
    pub script: usize,
    /// The text before the call; `None` where the call stands in a branch, a loop, a group or a function.
    pub before: Option<Arc<str>>,
}

/// What a script does before a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Preparation {
    /// It installs packages.
    pub installs: bool,
    /// It installs Prefect itself.
    pub installs_prefect: bool,
    /// It installs a project or a list of packages that may hold Prefect.
    pub installs_project: bool,
    /// It reads files that may set variables (`. FILE`).
    pub sources: bool,
    /// It starts something that goes on beside it.
    pub starts: bool,
    /// What it starts is a database, or leads to one.
    pub starts_proxy: bool,
    /// It does more than prepare: to do it twice may do harm.
    pub acts: bool,
}

/// What a container runs.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Invocation {
    /// The Prefect calls we care about, in order.
    pub calls: Vec<Call>,
    /// What is done to the environment by the end; `None` where nothing is.
    pub(super) changes: Option<Arc<[Change]>>,
    /// Settings written by `prefect config set NAME=VALUE` in the script.
    pub profile_settings: Vec<(String, Option<String>)>,
    /// The command reads files or command output that may set any variable (`. FILE`, `export $(…)`).
    pub opaque_exports: bool,
    /// The command is a shell script given on the command line.
    pub shell: bool,
    /// The command is a script or a string that we cannot read.
    pub unreadable: bool,
    /// It calls `prefect`, whatever for.
    pub calls_prefect: bool,
    /// It calls `prefect`, and the manifest does not show what for (`prefect server $ACTION`).
    pub undecided: bool,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Call").field(&self.action).field(&self.position).finish()
    }
}

/// Names only: what a script sets may be a password.
impl fmt::Debug for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation")
            .field("calls", &self.calls)
            .field("changes", &self.changes_before_main())
            .finish_non_exhaustive()
    }
}

impl Invocation {
    /// The first call that is a server.
    pub fn server(&self) -> Option<&Call> {
        self.calls.iter().find(|call| call.action.is_server())
    }

    /// The call that names the container's role: the server if there is one, else the first database command.
    pub fn main_call(&self) -> Option<&Call> {
        self.server().or(self.calls.first())
    }

    /// Servers beside the first that start in another environment than that one.
    pub fn other_servers(&self) -> impl Iterator<Item = &Call> {
        let first = self.server();
        let differs = move |call: &&Call| {
            first.is_some_and(|first| call.changes != first.changes || call.profile != first.profile)
        };
        self.calls.iter().filter(|call| call.action.is_server()).filter(differs)
    }

    /// Whether the container's own script migrates before it starts the server.
    pub fn upgrades_first(&self) -> bool {
        let upgrade = self.calls.iter().position(|call| call.action == Action::Upgrade);
        let serve = self.calls.iter().position(|call| call.action.is_server());
        matches!((upgrade, serve), (Some(upgrade), Some(serve)) if upgrade < serve)
    }

    /// Whether it runs a database migration (and is no server).
    pub fn is_migration(&self) -> bool {
        self.server().is_none() && self.calls.iter().any(|call| call.action == Action::Upgrade)
    }

    /// Whether all that it does happens in other pods.
    pub fn is_elsewhere(&self) -> bool {
        self.calls.iter().all(|call| call.elsewhere)
    }

    /// What is done to the environment before the main call.
    pub fn changes_before_main(&self) -> &[Change] {
        match self.main_call() {
            Some(call) => &call.changes,
            None => self.changes.as_deref().unwrap_or_default(),
        }
    }
}
