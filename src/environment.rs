//! The environment of a container as its process will see it, after Kubernetes has built it.
//!
//! What the kubelet does (`makeEnvironmentVariables` in `pkg/kubelet/kubelet_pods.go`, `Expand` in
//! `third_party/forked/golang/expansion`): first `envFrom`, then `env` in order, a later entry of the same name
//! replacing the earlier one. `$(NAME)` in a `value` stands for what is known of `NAME` at that point, `envFrom`
//! and Service variables included; an unknown one stays as it is written. `$$` is one `$`. What a reference
//! brings in is not expanded again.
//!
//! Values are expanded only when somebody asks for them: most variables of a pod are never asked for.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeSet;

use crate::kubernetes::expand::{Part, parts};
use crate::kubernetes::pod::{Container, EnvFrom, EnvVar};
use crate::shell::changes::Change;

/// Stands for a piece of a value that the manifest does not show: a Secret's content, a field of the pod.
///
/// A Unicode noncharacter, never meant for interchange; where a manifest holds it, it reads as U+FFFD.
pub const HIDDEN: char = '\u{fdd0}';

/// How many references one value may resolve. Thirty variables that each name the one before twice would
/// otherwise stand for a billion; past this a value counts as not visible.
const REFERENCE_LIMIT: u32 = 256;

/// The longest expanded value that is judged, in bytes. Linux refuses an environment string over 128 KiB.
const LENGTH_LIMIT: usize = 128 * 1024;

/// The environment of one container.
#[derive(Debug, Clone, Default)]
pub struct Environment<'a> {
    variables: &'a [EnvVar<'a>],
    from: &'a [EnvFrom<'a>],
    service_links: bool,
    assigned: Vec<Assignment<'a>>,
    taken: Taken<'a>,
    doubted: bool,
}

/// What the command line takes away of what the pod gives.
#[derive(Debug, Clone, Default)]
struct Taken<'a> {
    all: bool,
    names: BTreeSet<Cow<'a, str>>,
}

impl Taken<'_> {
    fn holds(&self, name: &str) -> bool {
        self.all || self.names.contains(name)
    }
}

/// What the command line itself sets before the server starts.
#[derive(Debug, Clone)]
struct Assignment<'a> {
    name: Cow<'a, str>,
    value: Option<Cow<'a, str>>,
}

/// One variable as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable<'e> {
    /// Its place in the order of the environment; hand it to [`Environment::value`].
    pub index: usize,
    /// Its name as written.
    pub name: &'e str,
    /// Where its value comes from.
    pub source: Source,
}

/// Where the value of a variable comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Written in the manifest.
    Literal,
    /// A key of a Secret.
    Secret {
        /// The pod starts without it.
        optional: bool,
    },
    /// A key of a ConfigMap.
    ConfigMap {
        /// The pod starts without it.
        optional: bool,
    },
    /// A field of the pod, a resource, a file, or something that came later.
    Other,
    /// Set by the command line: a shell's `export`, or `env NAME=value`.
    CommandLine,
}

/// A value as the process sees it, as far as the manifest shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Value<'a> {
    /// The text; [`HIDDEN`] stands for each piece that is not visible.
    pub text: Cow<'a, str>,
    /// Names in `$(NAME)` that nothing defines before this point, so that the reference stays as it is.
    pub undefined: Vec<String>,
}

impl Value<'_> {
    /// Nothing of the value is visible.
    pub fn is_hidden(&self) -> bool {
        let mut chars = self.text.chars();
        chars.next() == Some(HIDDEN) && chars.next().is_none()
    }

    /// Some piece of the value is not visible.
    pub fn is_partly_hidden(&self) -> bool {
        self.text.contains(HIDDEN)
    }

    fn hidden() -> Self {
        Value { text: Cow::Borrowed("\u{fdd0}"), undefined: Vec::new() }
    }
}

impl<'a> Environment<'a> {
    /// The environment that the kubelet builds for `container`. `service_links` is the pod's
    /// `enableServiceLinks`.
    pub fn new(container: &'a Container<'a>, service_links: bool) -> Self {
        Environment {
            variables: &container.env,
            from: &container.env_from,
            service_links,
            assigned: Vec::new(),
            taken: Taken::default(),
            doubted: false,
        }
    }

    /// How many variables there are to look through.
    pub fn len(&self) -> usize {
        self.variables.len() + self.assigned.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds what the command line sets before the server starts; `None` where the value cannot be read.
    pub fn assign(&mut self, name: impl Into<Cow<'a, str>>, value: Option<Cow<'a, str>>) {
        self.assigned.push(Assignment { name: name.into(), value });
    }

    /// Applies what the command line does to it. Comes before any index is handed out.
    pub fn change(&mut self, changes: &[Change]) {
        // From the end, since the last word on a name counts.
        let mut settled = BTreeSet::new();
        let mut assigned = Vec::new();
        for change in changes.iter().rev() {
            match change {
                Change::Set { name, value, exported: true } if settled.insert(name) => {
                    let value = value.clone().map(Cow::Owned);
                    assigned.push(Assignment { name: Cow::Owned(name.clone()), value });
                }
                Change::Set { name, exported: false, .. } | Change::Unset(name) if settled.insert(name) => {
                    self.taken.names.insert(Cow::Owned(name.clone()));
                }
                Change::Clear => {
                    self.taken.all = true;
                    break;
                }
                Change::Doubt => self.doubted = true,
                Change::Set { .. } | Change::Unset(_) => {}
            }
        }
        self.assigned.extend(assigned.into_iter().rev());
    }

    /// Whether the command line may take away what the pod gives: what `sudo` keeps is not visible.
    pub fn is_doubted(&self) -> bool {
        self.doubted
    }

    /// Whether the command line takes away a variable of the pod that `matters`, or one that `envFrom` may hold.
    pub fn takes_away(&self, matters: impl Fn(&str) -> bool) -> bool {
        let from_env =
            self.variables.iter().any(|variable| self.taken.holds(&variable.name) && matters(&variable.name));
        from_env || self.taken.all && !self.from.is_empty()
    }

    /// All variables in the order in which they take effect, duplicates included.
    pub fn variables(&self) -> impl DoubleEndedIterator<Item = Variable<'_>> {
        let from_pod = self.variables.iter().enumerate().map(|(index, variable)| Variable {
            index,
            name: &variable.name,
            source: source(variable),
        });
        let from_pod = from_pod.filter(|variable| !self.taken.holds(variable.name));
        let base = self.variables.len();
        let from_command = self.assigned.iter().enumerate().map(move |(index, assignment)| Variable {
            index: base + index,
            name: &assignment.name,
            source: Source::CommandLine,
        });
        from_pod.chain(from_command)
    }

    /// The variable of exactly this name that takes effect.
    pub fn get(&self, name: &str) -> Option<Variable<'_>> {
        self.variables().rev().find(|variable| variable.name == name)
    }

    /// The variable at `index`, as [`Variable::index`] numbers them.
    pub fn at(&self, index: usize) -> Option<Variable<'_>> {
        if self.taken.all || !self.taken.names.is_empty() {
            return self.variables().find(|variable| variable.index == index);
        }
        if let Some(variable) = self.variables.get(index) {
            return Some(Variable { index, name: &variable.name, source: source(variable) });
        }
        let assignment = self.assigned.get(index - self.variables.len())?;
        Some(Variable { index, name: &assignment.name, source: Source::CommandLine })
    }

    /// The position in the container's `env` list, `None` for what the command line sets.
    pub fn position_in_manifest(&self, index: usize) -> Option<usize> {
        (index < self.variables.len()).then_some(index)
    }

    /// The text of the variable exactly as written, before `$(NAME)` is expanded; empty when not literal.
    pub fn written(&self, index: usize) -> &str {
        match self.variables.get(index) {
            Some(variable) => variable.value.as_deref().unwrap_or_default(),
            None => self
                .assigned
                .get(index - self.variables.len())
                .and_then(|assignment| assignment.value.as_deref())
                .unwrap_or_default(),
        }
    }

    /// Whether the container has any `envFrom`.
    pub fn has_env_from(&self) -> bool {
        !self.from.is_empty() && !self.taken.all
    }

    /// Whether some `envFrom` could define exactly this name.
    pub fn env_from_may_define(&self, name: &str) -> bool {
        !self.taken.holds(name) && self.is_from_a_source(name)
    }

    fn is_from_a_source(&self, name: &str) -> bool {
        self.from.iter().any(|from| name.strip_prefix(&*from.prefix).is_some_and(|key| !key.is_empty()))
    }

    /// Whether some `envFrom` could define this name in any mixture of cases.
    pub fn env_from_may_define_in_any_case(&self, name: &str) -> bool {
        !self.taken.holds(name)
            && self.from.iter().any(|from| {
                let prefix = from.prefix.as_bytes();
                name.len() > prefix.len() && name.as_bytes()[..prefix.len()].eq_ignore_ascii_case(prefix)
            })
    }

    /// Whether the kubelet adds variables for the Services of the namespace.
    pub fn service_links(&self) -> bool {
        self.service_links
    }

    /// The value of the variable at `index` as the process sees it.
    pub fn value(&self, index: usize) -> Value<'_> {
        let budget = Cell::new(REFERENCE_LIMIT);
        self.resolve(index, &budget).unwrap_or_else(Value::hidden)
    }

    /// `None` when the budget is spent.
    fn resolve(&self, index: usize, budget: &Cell<u32>) -> Option<Value<'_>> {
        let Some(variable) = self.variables.get(index) else {
            let assignment = self.assigned.get(index - self.variables.len())?;
            return Some(assignment.value.as_deref().map_or_else(Value::hidden, plain));
        };
        // The kubelet looks at `valueFrom` only when `value` is empty; the API server refuses both.
        match variable.value.as_deref() {
            Some(text) if !text.is_empty() => self.expand(text, index, budget),
            _ if variable.value_from.is_some() => Some(Value::hidden()),
            _ => Some(Value::default()),
        }
    }

    fn expand<'e>(&'e self, text: &'e str, index: usize, budget: &Cell<u32>) -> Option<Value<'e>> {
        if !text.contains('$') {
            return Some(plain(text));
        }
        let mut out = Value { text: Cow::Owned(String::with_capacity(text.len())), undefined: Vec::new() };
        for part in parts(text) {
            match part {
                Part::Text(text) => push_visible(out.text.to_mut(), text),
                Part::Reference { name, .. } => self.refer(name, index, &mut out, budget)?,
            }
            if out.text.len() > LENGTH_LIMIT {
                return None;
            }
        }
        Some(out)
    }

    /// Appends what `$(name)` stands for in the variable at `index`.
    fn refer(&self, name: &str, index: usize, out: &mut Value<'_>, budget: &Cell<u32>) -> Option<()> {
        budget.set(budget.get().checked_sub(1)?);
        let before = &self.variables[..index];
        let text = out.text.to_mut();
        if let Some(earlier) = before.iter().rposition(|variable| &*variable.name == name) {
            let value = self.resolve(earlier, budget)?;
            text.push_str(&value.text);
            out.undefined.extend(value.undefined);
        } else if self.is_from_a_source(name) || self.is_service_variable(name) {
            text.push(HIDDEN);
        } else {
            text.push_str("$(");
            push_visible(text, name);
            text.push(')');
            out.undefined.push(name.to_owned());
        }
        Some(())
    }

    /// Whether the kubelet may define `name` for a Service of the namespace. Those of the Service `kubernetes`
    /// are there even without service links (`getServiceEnvVarMap`).
    fn is_service_variable(&self, name: &str) -> bool {
        (self.service_links || name.starts_with("KUBERNETES_")) && looks_like_service_variable(name)
    }
}

fn source(variable: &EnvVar<'_>) -> Source {
    let literal = variable.value.as_deref().is_some_and(|text| !text.is_empty());
    match &variable.value_from {
        Some(from) if !literal => match (&from.secret_key_ref, &from.config_map_key_ref) {
            (Some(key), _) => Source::Secret { optional: key.optional },
            (_, Some(key)) => Source::ConfigMap { optional: key.optional },
            _ => Source::Other,
        },
        _ => Source::Literal,
    }
}

/// `X_SERVICE_HOST`, `X_SERVICE_PORT`, `X_SERVICE_PORT_NAME`, `X_PORT_5432_TCP…`, where `X` is a Service's name in
/// capitals with `_` for `-` (`pkg/kubelet/envvars/envvars.go`). Plain `X_PORT` is left out: it would be
/// `tcp://address:port`, which is of no use in a database URL.
pub fn looks_like_service_variable(name: &str) -> bool {
    let capitals = name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    let starts_well = name.as_bytes().first().is_some_and(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let named = |end: &str| name.strip_suffix(end).is_some_and(|service| !service.is_empty());
    let inside = |part: &str| name.find(part).is_some_and(|at| at > 0);
    let docker_link = || {
        name.match_indices("_PORT_").any(|(at, part)| {
            let rest = &name[at + part.len()..];
            let port = rest.split('_').next().unwrap_or_default();
            let protocol = rest[port.len()..].trim_start_matches('_').split('_').next().unwrap_or_default();
            at > 0
                && !port.is_empty()
                && port.bytes().all(|b| b.is_ascii_digit())
                && matches!(protocol, "TCP" | "UDP" | "SCTP")
        })
    };
    capitals
        && starts_well
        && (named("_SERVICE_HOST") || named("_SERVICE_PORT") || inside("_SERVICE_PORT_") || docker_link())
}

fn plain(text: &str) -> Value<'_> {
    Value { text: visible(text), undefined: Vec::new() }
}

/// The text with nothing in it that could be taken for a hidden piece.
fn visible(text: &str) -> Cow<'_, str> {
    if text.contains(HIDDEN) { Cow::Owned(text.replace(HIDDEN, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

fn push_visible(out: &mut String, text: &str) {
    out.push_str(&visible(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(env: &str, env_from: &str) -> String {
        format!(r#"{{"name":"api","env":[{env}],"envFrom":[{env_from}]}}"#)
    }

    /// The value of the last variable of `env`, with service links on.
    fn last(env: &str, env_from: &str) -> (String, Vec<String>) {
        expanded(env, env_from, true)
    }

    fn expanded(env: &str, env_from: &str, links: bool) -> (String, Vec<String>) {
        let json = container(env, env_from);
        let container = Container::read(crate::json::Raw::of(&json).unwrap()).unwrap();
        let environment = Environment::new(&container, links);
        let index = container.env.len() - 1;
        let value = environment.value(index);
        (value.text.replace(HIDDEN, "?"), value.undefined)
    }

    #[test]
    fn expands_what_was_defined_earlier() {
        let (text, undefined) =
            last(r#"{"name":"A","value":"x"},{"name":"B","value":"$(A)-$(A)$(C)"},{"name":"C"}"#, "");
        assert_eq!((text.as_str(), undefined.len()), ("", 0));
        let (text, undefined) = last(
            r#"{"name":"C0","value":"c"},{"name":"A","value":"x"},{"name":"B","value":"$(A)-$(C0)$(C)"}"#,
            "",
        );
        assert_eq!(text, "x-c$(C)");
        assert_eq!(undefined, ["C"]);
    }

    #[test]
    fn a_reference_to_itself_sees_the_earlier_one() {
        assert_eq!(last(r#"{"name":"A","value":"1"},{"name":"A","value":"$(A)2"}"#, "").0, "12");
        let (text, undefined) = last(r#"{"name":"A","value":"$(A)"}"#, "");
        assert_eq!((text.as_str(), undefined), ("$(A)", vec!["A".to_owned()]));
    }

    #[test]
    fn the_last_earlier_duplicate_counts() {
        let env = r#"{"name":"A","value":"1"},{"name":"A","value":"2"},{"name":"B","value":"$(A)"}"#;
        assert_eq!(last(env, "").0, "2");
    }

    #[test]
    fn escapes_and_leaves_what_is_no_reference() {
        for (written, seen) in [
            ("$$(A)", "$(A)"),
            ("$$$$", "$$"),
            ("$$$(A)", "$x"),
            ("$(A", "$(A"),
            ("$(A$(A)", "$(A$(A)"),
            ("a$", "a$"),
            ("$A ${A}", "$A ${A}"),
            ("$()", "$()"),
            ("$é", "$é"),
            ("$((A))", "$((A))"),
        ] {
            let env = format!(r#"{{"name":"A","value":"x"}},{{"name":"B","value":"{written}"}}"#);
            assert_eq!(last(&env, "").0, seen, "{written}");
        }
    }

    #[test]
    fn an_expanded_value_is_not_expanded_again() {
        let env = r#"{"name":"A","value":"$$(C)"},{"name":"C","value":"c"},{"name":"B","value":"$(A)"}"#;
        assert_eq!(last(env, "").0, "$(C)");
    }

    #[test]
    fn pieces_from_elsewhere_are_hidden() {
        let env = r#"{"name":"P","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}},{"name":"B","value":"a$(P)b"}"#;
        assert_eq!(last(env, "").0, "a?b");
        assert_eq!(last(r#"{"name":"B","value":"a$(P)b"}"#, r#"{"secretRef":{"name":"s"}}"#).0, "a?b");
        assert_eq!(
            last(r#"{"name":"B","value":"a$(P)b"}"#, r#"{"prefix":"DB_","secretRef":{"name":"s"}}"#).0,
            "a$(P)b"
        );
        assert_eq!(last(r#"{"name":"B","value":"$(PG_SERVICE_HOST):$(PG_SERVICE_PORT)"}"#, "").0, "?:?");
        assert_eq!(
            expanded(r#"{"name":"B","value":"$(PG_SERVICE_HOST)"}"#, "", false).0,
            "$(PG_SERVICE_HOST)"
        );
        assert_eq!(expanded(r#"{"name":"B","value":"$(KUBERNETES_SERVICE_HOST)"}"#, "", false).0, "?");
    }

    #[test]
    fn a_marker_in_the_manifest_is_not_taken_for_a_hidden_piece() {
        assert_eq!(last("{\"name\":\"B\",\"value\":\"a\u{fdd0}b\"}", "").0, "a\u{fffd}b");
    }

    #[test]
    fn many_references_end() {
        let mut env = String::from(r#"{"name":"V0","value":"x"}"#);
        for i in 1..60 {
            env.push_str(&format!(r#",{{"name":"V{i}","value":"$(V{0})$(V{0})"}}"#, i - 1));
        }
        assert_eq!(last(&env, "").0, "?");
    }

    #[test]
    fn the_command_line_comes_last() {
        let json = container(r#"{"name":"A","value":"1"}"#, "");
        let container = Container::read(crate::json::Raw::of(&json).unwrap()).unwrap();
        let mut environment = Environment::new(&container, true);
        environment.assign("A", Some(Cow::Borrowed("2")));
        environment.assign("B", None);
        let variable = environment.get("A").unwrap();
        assert_eq!(variable.source, Source::CommandLine);
        assert_eq!(environment.value(variable.index).text, "2");
        assert!(environment.value(environment.get("B").unwrap().index).is_hidden());
        assert_eq!(environment.position_in_manifest(variable.index), None);
    }

    #[test]
    fn the_command_line_takes_away() {
        let json =
            container(r#"{"name":"A","value":"1"},{"name":"B","value":"$(A)2"}"#, r#"{"prefix":"F_"}"#);
        let container = Container::read(crate::json::Raw::of(&json).unwrap()).unwrap();
        let names = |environment: &Environment<'_>| {
            environment.variables().map(|variable| variable.name.to_owned()).collect::<Vec<_>>()
        };
        let mut environment = Environment::new(&container, true);
        let set = |name: &str, exported| Change::Set {
            name: name.to_owned(),
            value: Some("3".to_owned()),
            exported,
        };
        environment.change(&[set("A", true), Change::Unset("A".to_owned())]);
        assert_eq!(names(&environment), ["B"]);
        // What the kubelet has put in before stays in.
        let left = environment.get("B").unwrap();
        assert_eq!((environment.value(left.index).text.as_ref(), left.index), ("12", 1));
        assert_eq!(environment.at(1), Some(left));
        assert!(environment.at(0).is_none() && environment.env_from_may_define("F_A"));
        let mut environment = Environment::new(&container, true);
        environment.change(&[Change::Unset("A".to_owned()), set("A", true), set("B", false)]);
        assert_eq!(names(&environment), ["A", "A"]);
        let mut environment = Environment::new(&container, true);
        environment.change(&[set("A", true), Change::Clear, set("C", true)]);
        assert_eq!(names(&environment), ["C"]);
        assert!(!environment.env_from_may_define("F_A") && environment.takes_away(|name| name == "B"));
    }

    #[test]
    fn knows_service_variables() {
        for name in ["PG_SERVICE_HOST", "PG_SERVICE_PORT", "PG_SERVICE_PORT_WEB", "PG_PORT_5432_TCP_ADDR"] {
            assert!(looks_like_service_variable(name), "{name}");
        }
        for name in [
            "DB_HOST",
            "DB_PORT_X",
            "SERVICE_HOST",
            "_SERVICE_HOST",
            "pg_service_host",
            "PORT",
            "DB_PORT",
            "DB_PASSWORD",
        ] {
            assert!(!looks_like_service_variable(name), "{name}");
        }
    }
}
