//! The argv of a container as the kubelet makes it: `$(VAR)` put in, command before args.

use std::borrow::Cow;

use super::Container;
use super::command::{self, Invocation};

impl Container<'_> {
    /// What the container runs. Settled without reading when no token could name Prefect.
    pub fn invocation(&self) -> Invocation<'_> {
        let tokens = || self.command.iter().chain(&self.args);
        let worth_reading =
            |token: &str| token.contains("prefect") || token.contains('$') || token.ends_with(".sh");
        if !tokens().any(|token| worth_reading(token)) {
            return Invocation::default();
        }
        let lookup = |name: &str| self.literal(name).map(str::to_owned);
        if tokens().any(|token| token.contains("$(")) {
            let expanded: Vec<Cow<'_, str>> = tokens().map(|token| self.expand_references(token)).collect();
            let argv: Vec<&str> = expanded.iter().map(|token| &**token).collect();
            return command::read(&argv, &lookup).into_owned();
        }
        let argv: Vec<&str> = tokens().map(|token| &**token).collect();
        command::read(&argv, &lookup)
    }

    /// The literal value of a variable, as far as `env` shows it; the last of that name.
    fn literal(&self, name: &str) -> Option<&str> {
        let variable = self.env.iter().rev().find(|variable| &*variable.name == name)?;
        variable.value.as_deref().filter(|value| !value.contains("$("))
    }

    /// Puts literal variables in for `$(NAME)`, as the kubelet does in commands; what is not known stays.
    fn expand_references<'t>(&self, token: &'t str) -> Cow<'t, str> {
        let mut out = String::new();
        let mut rest = token;
        while let Some(at) = rest.find("$(") {
            let Some(end) = rest[at..].find(')').map(|end| at + end) else { break };
            let escaped = rest[..at].ends_with('$');
            let value = self.literal(&rest[at + 2..end]).filter(|_| !escaped);
            out.push_str(&rest[..at]);
            out.push_str(value.unwrap_or(&rest[at..=end]));
            rest = &rest[end + 1..];
        }
        if out.is_empty() { Cow::Borrowed(token) } else { Cow::Owned(out + rest) }
    }
}
