//! What the containers of a workload run: each command read once, `$(VAR)` put in as the kubelet does.

use std::cell::OnceCell;
use std::rc::Rc;

use crate::environment::Environment;
use crate::kubernetes::expand::{Part, parts};
use crate::kubernetes::pod::Text;
use crate::kubernetes::{Class, Container, ContainerRef, Workload};
use crate::prefect::version::Version;
use crate::shell::budget::Budget;
use crate::shell::command::Invocation;
use crate::shell::command_names::CommandNames;
use crate::shell::programs;
use crate::shell::reading::{Known, Surroundings, read_within};
use crate::shell::word::{Piece, Word};
use crate::text::basename;

/// What a hook or a probe of a container runs, and the field that says so.
pub type Hook = (&'static str, Invocation);

/// The commands of a workload's containers.
pub struct Commands<'a> {
    workload: &'a Workload<'a>,
    fillers: &'a [String],
    containers: Vec<Read>,
    init_containers: Vec<Read>,
}

/// The commands of one container.
struct Read {
    main: Rc<Invocation>,
    /// Read when somebody asks: few rules do.
    hooks: OnceCell<Vec<Hook>>,
}

impl<'a> Commands<'a> {
    /// Reads what each container runs. `fillers` are programs that fill the environment of what they run, beside the
    /// built-in ones.
    pub fn read(workload: &'a Workload<'a>, fillers: &'a [String]) -> Self {
        let read = |container: &Container<'_>| Read {
            main: Rc::new(invocation(container, &container.command, &container.args, fillers)),
            hooks: OnceCell::new(),
        };
        let read_job = |container: &Container<'_>| match without_lock(container) {
            Some(line) => {
                let line: Vec<Text<'_>> = line.into_iter().map(Text::from).collect();
                let main = Rc::new(invocation(container, &line, &[], fillers));
                Read { main, hooks: OnceCell::new() }
            }
            None => read(container),
        };
        let spec = &workload.template.spec;
        Commands {
            workload,
            fillers,
            containers: match workload.class {
                Class::Job => spec.containers.iter().map(read_job).collect(),
                Class::Server => spec.containers.iter().map(read).collect(),
            },
            init_containers: spec.init_containers().iter().map(read).collect(),
        }
    }

    /// What a container runs.
    pub fn of(&self, at: ContainerRef) -> &Rc<Invocation> {
        &self.entry(at).main
    }

    /// What the hooks and probes of a container run.
    pub fn hooks(&self, at: ContainerRef) -> &[Hook] {
        self.entry(at).hooks.get_or_init(|| {
            let container = self.workload.container(at);
            container
                .hooks()
                .map(|(field, argv)| (field, invocation(container, argv, &[], self.fillers)))
                .collect()
        })
    }

    /// Every container, the ordinary ones first.
    pub fn containers(&self) -> impl Iterator<Item = ContainerRef> + use<> {
        let refs = |init, count| (0..count).map(move |index| ContainerRef { init, index });
        refs(false, self.containers.len()).chain(refs(true, self.init_containers.len()))
    }

    fn entry(&self, at: ContainerRef) -> &Read {
        let list = if at.init { &self.init_containers } else { &self.containers };
        &list[at.index]
    }
}

/// What stands in each of our scripts, of any release.
const OURS: &str = "prefect-guard:";

/// The command line of a Job that was given the lock, without it: what its author wrote. Only a line as the guard writes
/// it is taken for one: a Python that runs a script of ours, its options, and the plain upgrade.
pub fn without_lock<'c>(container: &'c Container<'_>) -> Option<Vec<&'c str>> {
    let argv: Vec<&str> = container.argv().collect();
    let script = argv.iter().position(|word| word.contains(OURS))?;
    let is_python = |at: &usize| programs::is_python(basename(argv[*at]));
    let python = script.checked_sub(2).filter(is_python).filter(|_| argv[script - 1] == "-c")?;
    let options = argv[script + 1..].iter().take_while(|word| word.starts_with("--")).count();
    let call = &argv[script + 1 + options..];
    let upgrades = matches!(call, [.., "server", "database", "upgrade", "-y" | "--yes"]);
    (options > 0 && upgrades).then(|| argv[..python].iter().chain(call).copied().collect())
}

/// Settled without reading when no token could name Prefect.
fn invocation(
    container: &Container<'_>,
    command: &[Text<'_>],
    args: &[Text<'_>],
    fillers: &[String],
) -> Invocation {
    let tokens = || command.iter().chain(args);
    // A shell may put the word together: `pre''fect`, `pre\fect`, `$P`, `… | sh`.
    let worth_reading = |token: &str| {
        names_prefect(token) || token.contains(['$', '\'', '"', '\\', '`', '|']) || token.ends_with(".sh")
    };
    if !tokens().any(|token| worth_reading(token)) {
        return Invocation::default();
    }
    let values = container.env.iter().filter_map(|variable| variable.value.as_deref());
    let budget = Budget::of(tokens().map(|token| &**token).chain(values).map(str::len).sum());
    let environment = Environment::new(container, true);
    let lookup = |name: &str| known(&environment, name, &budget);
    let words: Vec<Word> = tokens().map(|token| expand(token, &lookup, &budget)).collect();
    let names = command_names(&container.image);
    read_within(&words, &Surroundings { names, fillers, lookup: &lookup }, &budget)
}

/// How the Prefect of an image compares the names of its commands; one that is not known may be the newest.
fn command_names(image: &str) -> CommandNames {
    match Version::of_image(image) {
        Some(version) if version.is_before(3, 9, 0) => CommandNames::Exact,
        _ => CommandNames::Folded,
    }
}

/// By hand: a searcher for a word costs more than a token is long.
fn names_prefect(token: &str) -> bool {
    token.as_bytes().windows(7).any(|word| word == b"prefect")
}

/// What the manifest says of a variable of the container.
fn known(environment: &Environment<'_>, name: &str, budget: &Budget) -> Known {
    if !budget.step(1 + environment.len() / 8) {
        return Known::Hidden;
    }
    let Some(variable) = environment.get(name) else {
        return if environment.env_from_may_define(name) { Known::Hidden } else { Known::Unset };
    };
    // A value that is put together is paid for by what it is made of as well.
    if !budget.text(environment.written(variable.index).len()) {
        return Known::Hidden;
    }
    let value = environment.value(variable.index);
    if value.is_partly_hidden() || !budget.text(value.text.len()) {
        return Known::Hidden;
    }
    Known::Value(value.text.into_owned())
}

/// Puts literal variables in, as the kubelet does in commands; what is not defined stays.
fn expand(token: &str, lookup: &dyn Fn(&str) -> Known, budget: &Budget) -> Word {
    if !token.contains("$(") && !token.contains("$$") {
        return Word::from(token);
    }
    let mut word = Word::default();
    for part in parts(token) {
        match part {
            Part::Text(text) => word.push_text(text),
            Part::Reference { name, written } => match lookup(name) {
                Known::Value(value) if budget.step(1 + name.len() / 16) => word.push_text(&value),
                Known::Unset => word.push_text(written),
                Known::Value(_) | Known::Hidden => word.push_piece(Piece::Unknown),
            },
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::{expand, invocation};
    use crate::shell::budget::Budget;
    use crate::shell::reading::Known;
    use crate::shell::word::{Piece, Word};

    #[test]
    fn puts_variables_in_as_the_kubelet_does() {
        let lookup = |name: &str| match name {
            "P" => Known::Value("prefect".to_owned()),
            "EMPTY" => Known::Value(String::new()),
            "SECRET" => Known::Hidden,
            _ => Known::Unset,
        };
        let cases = [
            ("$(P)", "prefect"),
            ("$(EMPTY)prefect", "prefect"),
            ("$(EMPTY)", ""),
            ("$$(P)", "$(P)"),
            ("$$$(P)", "$prefect"),
            ("a$(NOT)b$(P)", "a$(NOT)bprefect"),
            ("$(P", "$(P"),
            ("$P $(", "$P $("),
            ("$(P) $$ $( $", "prefect $ $( $"),
        ];
        for (token, wanted) in cases {
            assert!(expand(token, &lookup, &Budget::of(100)).is(wanted), "{token}");
        }
        let mut hidden = Word::from("-");
        hidden.push_piece(Piece::Unknown);
        assert_eq!(expand("-$(SECRET)", &lookup, &Budget::of(100)), hidden);
    }

    #[test]
    fn references_to_a_long_value_are_paid_for() {
        // 25,000 references to 100 KB asked for more than a gigabyte.
        let json = serde_json::json!({"name": "api", "env": [{"name": "A", "value": "x".repeat(100_000)}],
            "command": ["prefect"], "args": vec!["$(A)"; 25_000]});
        let json = json.to_string();
        let container = crate::kubernetes::Container::read(crate::json::Raw::of(&json).unwrap()).unwrap();
        assert!(invocation(&container, &container.command, &container.args, &[]).unreadable);
    }

    #[test]
    fn references_among_many_variables_are_paid_for() {
        let env: Vec<_> =
            (0..20_000).map(|i| serde_json::json!({"name": format!("V{i}"), "value": "x"})).collect();
        let args: Vec<String> = (0..20_000).map(|_| "$(NONE)".to_owned()).collect();
        let json =
            serde_json::json!({"name": "api", "env": env, "command": ["prefect"], "args": args}).to_string();
        let container = crate::kubernetes::Container::read(crate::json::Raw::of(&json).unwrap()).unwrap();
        assert!(invocation(&container, &container.command, &container.args, &[]).unreadable);
    }

    #[test]
    fn references_that_never_close_are_looked_for_once() {
        // Two seconds of work when each of them looked for its end.
        let token = "$(".repeat(1 << 20);
        assert!(expand(&token, &|_| Known::Unset, &Budget::of(0)).is(&token));
    }
}
