//! `$(NAME)` in commands and in the values of variables, as the kubelet reads it.
//!
//! Source: `Expand` in `third_party/forked/golang/expansion`.

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'t> {
    /// Text that stays as it is.
    Text(&'t str),
    /// `$(NAME)`
    Reference {
        /// The name in it.
        name: &'t str,
        /// The whole of it, which stays where nothing defines the name.
        written: &'t str,
    },
}

/// The parts of a text: `$$` is one `$`, and what does not close is no reference.
pub fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    // Behind the last `)` no reference closes, and none is looked for.
    let closing = text.rfind(')').map_or(0, |at| at + 1);
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &text[at..];
        let (part, length) = match rest.find('$') {
            _ if rest.is_empty() => return None,
            Some(0) if rest.starts_with("$$") => (Part::Text("$"), 2),
            Some(0) => match rest.strip_prefix("$(").filter(|_| at < closing).and_then(|name| name.find(')'))
            {
                Some(end) => {
                    let written = &rest[..end + 3];
                    (Part::Reference { name: &rest[2..end + 2], written }, end + 3)
                }
                // No reference: the operator stays. (Go's code goes astray on a non-ASCII character here and yields
                // broken UTF-8; no container runtime takes that, so it is not copied.)
                None => (Part::Text("$"), 1),
            },
            found => {
                let end = found.unwrap_or(rest.len());
                (Part::Text(&rest[..end]), end)
            }
        };
        at += length;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_references_as_the_kubelet_does() {
        let shown = |text| {
            let show = |part| match part {
                Part::Text(text) => text.to_owned(),
                Part::Reference { name, .. } => format!("<{name}>"),
            };
            parts(text).map(show).collect::<String>()
        };
        for (text, wanted) in [
            ("$(P)", "<P>"),
            ("a$(P)b$(Q)", "a<P>b<Q>"),
            ("$$(P)", "$(P)"),
            ("$$$(P)", "$<P>"),
            ("$(P", "$(P"),
            ("$P $(", "$P $("),
            ("$(P) $$ $( $", "<P> $ $( $"),
            ("$()", "<>"),
            ("", ""),
            ("$é$(P)é", "$é<P>é"),
        ] {
            assert_eq!(shown(text), wanted, "{text}");
        }
    }

    #[test]
    fn references_that_never_close_are_looked_for_once() {
        // Two seconds of work when each of them looked for its end.
        let text = "$(".repeat(1 << 20);
        assert_eq!(parts(&text).filter(|part| matches!(part, Part::Reference { .. })).count(), 0);
    }
}
