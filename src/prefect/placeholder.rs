//! Text that was meant to be replaced before it reached the cluster.
//!
//! A password may hold nearly any character and still be one, so only what nobody uses as a password is taken for
//! a placeholder: a whole component in `<…>`, a `${NAME}`, a `{{ … }}`, a word that says "change me".

/// What a placeholder looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// `<password>`
    Angle,
    /// `{{ .Values.password }}`
    Template,
    /// `${NAME}` or `$NAME`, which neither Kubernetes nor Prefect fills in.
    Shell,
    /// `$(NAME)`, reaching Prefect as it stands.
    Reference,
    /// `{password}`, `%(password)s`, `__PASSWORD__`
    Format,
    /// `***`: a URL copied from a log or from `prefect config view`.
    Masked,
    /// `CHANGEME` and the like.
    Word,
}

impl Placeholder {
    /// How to name it to its author.
    pub fn name(self) -> &'static str {
        match self {
            Placeholder::Angle => "a `<…>` placeholder",
            Placeholder::Template => "a `{{ … }}` template that was never rendered",
            Placeholder::Shell => "a shell variable that neither Kubernetes nor Prefect fills in",
            Placeholder::Reference => "a `$(…)` reference that reaches Prefect as it stands",
            Placeholder::Format => "a placeholder that was never filled in",
            Placeholder::Masked => "a password masked with `***`",
            Placeholder::Word => "a placeholder such as `CHANGEME`",
        }
    }
}

/// What part of a URL a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Any text is a password.
    Password,
    /// A user, host or database: names.
    Name,
}

/// Marks that are placeholders wherever they stand in a value.
pub fn anywhere(text: &str) -> Option<Placeholder> {
    if !text.contains(['{', '$']) {
        return None;
    }
    if text.split_once("{{").is_some_and(|(_, rest)| rest.contains("}}")) {
        return Some(Placeholder::Template);
    }
    if holds(text, "${", '}') {
        return Some(Placeholder::Shell);
    }
    holds(text, "$(", ')').then_some(Placeholder::Reference)
}

/// `open`, a name, `close`.
fn holds(text: &str, open: &str, close: char) -> bool {
    text.match_indices(open).any(|(at, _)| {
        let inside = &text[at + open.len()..];
        inside.find(close).is_some_and(|end| {
            // `${NAME:-default}` counts as well.
            let name = inside[..end].split([':', '-', '?', '+']).next().unwrap_or_default();
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'))
        })
    })
}

/// Whether one component of a URL is a placeholder.
pub fn component(text: &str, part: Part) -> Option<Placeholder> {
    if let Some(found) = anywhere(text) {
        return Some(found);
    }
    if is_wrapped(text, "<", ">") || (part == Part::Name && holds_angle(text)) {
        return Some(Placeholder::Angle);
    }
    if text.strip_prefix('$').is_some_and(is_shouted) {
        return Some(Placeholder::Shell);
    }
    if (is_wrapped(text, "{", "}") && is_word(&text[1..text.len() - 1]))
        || is_wrapped(text, "%(", ")s")
        || (is_wrapped(text, "__", "__") && is_shouted(text))
    {
        return Some(Placeholder::Format);
    }
    if text.len() >= 3 && text.bytes().all(|b| b == b'*') {
        return Some(Placeholder::Masked);
    }
    is_placeholder_word(text).then_some(Placeholder::Word)
}

/// Whether a whole value that is no URL is a placeholder.
pub fn whole(text: &str) -> Option<Placeholder> {
    let text = text.trim();
    anywhere(text).or_else(|| component(text, Part::Name))
}

fn is_wrapped(text: &str, open: &str, close: &str) -> bool {
    text.len() > open.len() + close.len() && text.starts_with(open) && text.ends_with(close)
}

fn holds_angle(text: &str) -> bool {
    text.split_once('<').is_some_and(|(_, rest)| rest.find('>').is_some_and(|end| end > 0))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// Capitals, digits and `_`, as the names of environment variables are written.
fn is_shouted(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_uppercase())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// `CHANGEME`, `change-me`, `REPLACE_ME`, `your-password`…, in any case, `-` and `_` aside.
fn is_placeholder_word(text: &str) -> bool {
    if text.len() > 40 || !text.is_ascii() {
        return false;
    }
    let plain: String =
        text.bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_lowercase() as char).collect();
    matches!(
        plain.as_str(),
        "changeme"
            | "changethis"
            | "changeit"
            | "replaceme"
            | "replacethis"
            | "fillme"
            | "fillmein"
            | "todo"
            | "redacted"
    ) || [
        ("your", "password"),
        ("your", "host"),
        ("your", "user"),
        ("your", "username"),
        ("your", "database"),
        ("your", "dbhost"),
    ]
    .iter()
    .any(|(first, second)| plain.strip_prefix(first) == Some(second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_placeholders() {
        for (text, found) in [
            ("<user>", Placeholder::Angle),
            ("{{ .Values.password }}", Placeholder::Template),
            ("${DB_PASSWORD}", Placeholder::Shell),
            ("${DB_PASSWORD:-x}", Placeholder::Shell),
            ("$DB_PASSWORD", Placeholder::Shell),
            ("$(DB_PASSWORD)", Placeholder::Reference),
            ("{password}", Placeholder::Format),
            ("%(password)s", Placeholder::Format),
            ("__PASSWORD__", Placeholder::Format),
            ("***", Placeholder::Masked),
            ("CHANGEME", Placeholder::Word),
            ("change-me", Placeholder::Word),
            ("YOUR_PASSWORD", Placeholder::Word),
        ] {
            assert_eq!(component(text, Part::Password), Some(found), "{text}");
        }
    }

    #[test]
    fn passes_passwords() {
        for text in [
            "p<1", "a<b>c", "p$1", "$", "$$", "pa$word", "p{1", "{", "}{", "p%zz", "", "hunter2", "change",
            "p$(1", "${", "$()", "a$B", "p*", "**", "<>", "__", "$lower", "password", "yourself",
        ] {
            assert_eq!(component(text, Part::Password), None, "{text}");
        }
        assert_eq!(component("db-<env>", Part::Name), Some(Placeholder::Angle));
    }
}
