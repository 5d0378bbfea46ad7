//! The argv of a container as the kubelet makes it: `$(VAR)` put in, command before args.

use std::borrow::Cow;

use super::Container;
use super::command::{self, Invocation};
use super::env::Environment;
use super::view::Text;

impl Container<'_> {
    /// What the container runs. Settled without reading when no token could name Prefect.
    pub fn invocation(&self) -> Invocation<'_> {
        self.reads(&self.command, &self.args)
    }

    /// What a hook or a probe of the container runs.
    pub fn hook_invocation<'t>(&'t self, argv: &'t [Text<'_>]) -> Invocation<'t> {
        self.reads(argv, &[])
    }

    fn reads<'t>(&'t self, command: &'t [Text<'_>], args: &'t [Text<'_>]) -> Invocation<'t> {
        let tokens = || command.iter().chain(args);
        // A shell may put the word together: `pre''fect`, `pre\fect`, `$P`, `… | sh`.
        let worth_reading = |token: &str| {
            token.contains("prefect")
                || token.contains(['$', '\'', '"', '\\', '`', '|'])
                || token.ends_with(".sh")
        };
        if !tokens().any(|token| worth_reading(token)) {
            return Invocation::default();
        }
        let environment = Environment::new(self, true);
        let lookup = |name: &str| {
            let value = environment.value(environment.get(name)?.index);
            (!value.is_partly_hidden()).then(|| value.text.into_owned())
        };
        if tokens().any(|token| token.contains("$(")) {
            let expanded: Vec<Cow<'_, str>> = tokens().map(|token| expand(token, &lookup)).collect();
            let argv: Vec<&str> = expanded.iter().map(|token| &**token).collect();
            return command::read(&argv, &lookup).into_owned();
        }
        let argv: Vec<&str> = tokens().map(|token| &**token).collect();
        command::read(&argv, &lookup)
    }
}

/// Puts literal variables in for `$(NAME)` and `$` for `$$`, as the kubelet does in commands; what is not known
/// stays.
fn expand<'t>(token: &'t str, lookup: &dyn Fn(&str) -> Option<String>) -> Cow<'t, str> {
    if !token.contains("$(") {
        return Cow::Borrowed(token);
    }
    let mut out = String::with_capacity(token.len());
    let mut rest = token;
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
                    Some(value) => out.push_str(&value),
                    None => out.push_str(&rest[at..rest.len() - tail.len()]),
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
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn puts_variables_in_as_the_kubelet_does() {
        let lookup = |name: &str| match name {
            "P" => Some("prefect".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
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
        ];
        for (token, wanted) in cases {
            assert_eq!(expand(token, &lookup), wanted, "{token}");
        }
    }
}
