//! The argv of a container as the kubelet makes it: `$(VAR)` put in, command before args.

use std::borrow::Cow;

use crate::kubernetes::Container;
use crate::kubernetes::env::Environment;
use crate::kubernetes::pod::Text;
use crate::shell::budget::Budget;
use crate::shell::command::{self, Invocation};
use crate::shell::reader::{Known, UNKNOWN};

impl Container<'_> {
    /// What the container runs. Settled without reading when no token could name Prefect.
    pub fn invocation(&self) -> Invocation {
        self.reads(&self.command, &self.args)
    }

    /// What a hook or a probe of the container runs.
    pub fn hook_invocation(&self, argv: &[Text<'_>]) -> Invocation {
        self.reads(argv, &[])
    }

    fn reads(&self, command: &[Text<'_>], args: &[Text<'_>]) -> Invocation {
        let tokens = || command.iter().chain(args);
        // A shell may put the word together: `pre''fect`, `pre\fect`, `$P`, `… | sh`.
        let worth_reading = |token: &str| {
            names_prefect(token) || token.contains(['$', '\'', '"', '\\', '`', '|']) || token.ends_with(".sh")
        };
        if !tokens().any(|token| worth_reading(token)) {
            return Invocation::default();
        }
        let values = self.env.iter().filter_map(|variable| variable.value.as_deref());
        let budget = Budget::of(tokens().map(|token| &**token).chain(values).map(str::len).sum());
        let environment = Environment::new(self, true);
        let lookup = |name: &str| known(&environment, name, &budget);
        if tokens().any(|token| token.contains('$') && token.contains("$(")) {
            let expanded: Vec<Cow<'_, str>> = tokens().map(|token| expand(token, &lookup, &budget)).collect();
            let argv: Vec<&str> = expanded.iter().map(|token| &**token).collect();
            return command::read_within(&argv, &lookup, &budget);
        }
        let argv: Vec<&str> = tokens().map(|token| &**token).collect();
        command::read_within(&argv, &lookup, &budget)
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

/// Puts literal variables in for `$(NAME)` and `$` for `$$`, as the kubelet does in commands; what is not defined
/// stays, and what is not visible is marked.
fn expand<'t>(token: &'t str, lookup: &dyn Fn(&str) -> Known, budget: &Budget) -> Cow<'t, str> {
    if !token.contains("$(") {
        return Cow::Borrowed(token);
    }
    // Behind the last `)` no reference closes.
    let (head, last) = token.rfind(')').map_or(("", token), |at| token.split_at(at + 1));
    let mut out = String::with_capacity(token.len());
    let mut rest = head;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let reference = after.strip_prefix('(').and_then(|name| name.split_once(')'));
        rest = match (after.strip_prefix('$'), reference) {
            (Some(escaped), _) => {
                out.push('$');
                escaped
            }
            (None, Some((name, tail))) => {
                match lookup(name) {
                    Known::Value(value) if budget.step(1 + name.len() / 16) => out.push_str(&value),
                    Known::Unset => out.push_str(&rest[at..rest.len() - tail.len()]),
                    Known::Value(_) | Known::Hidden => out.push(UNKNOWN),
                }
                tail
            }
            (None, None) => {
                out.push('$');
                after
            }
        };
    }
    out.push_str(rest);
    out.push_str(&last.replace("$$", "$"));
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::expand;
    use crate::shell::budget::Budget;
    use crate::shell::reader::{Known, UNKNOWN};

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
            assert_eq!(expand(token, &lookup, &Budget::of(100)), wanted, "{token}");
        }
        assert_eq!(expand("-$(SECRET)", &lookup, &Budget::of(100)), format!("-{UNKNOWN}"));
    }

    #[test]
    fn references_to_a_long_value_are_paid_for() {
        // 25,000 references to 100 KB asked for more than a gigabyte.
        let json = serde_json::json!({"name": "api", "env": [{"name": "A", "value": "x".repeat(100_000)}],
            "command": ["prefect"], "args": vec!["$(A)"; 25_000]});
        let json = json.to_string();
        let container: crate::kubernetes::Container<'_> = serde_json::from_str(&json).unwrap();
        assert!(container.invocation().unreadable);
    }

    #[test]
    fn references_among_many_variables_are_paid_for() {
        let env: Vec<_> =
            (0..20_000).map(|i| serde_json::json!({"name": format!("V{i}"), "value": "x"})).collect();
        let args: Vec<String> = (0..20_000).map(|_| "$(NONE)".to_owned()).collect();
        let json =
            serde_json::json!({"name": "api", "env": env, "command": ["prefect"], "args": args}).to_string();
        let container: crate::kubernetes::Container<'_> = serde_json::from_str(&json).unwrap();
        assert!(container.invocation().unreadable);
    }

    #[test]
    fn references_that_never_close_are_looked_for_once() {
        // Two seconds of work when each of them looked for its end.
        let token = "$(".repeat(1 << 20);
        assert_eq!(expand(&token, &|_| Known::Unset, &Budget::of(0)), token);
    }
}
