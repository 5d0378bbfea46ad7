//! JSON text that may hold the lock script.
//!
//! The script is two thirds of a patch and always the same: only its place is kept, until somebody wants the whole text.

use std::fmt;
use std::sync::LazyLock;

use super::call::SCRIPT;

/// The lock script as a JSON string.
pub(crate) static QUOTED_SCRIPT: LazyLock<String> = LazyLock::new(|| quote(SCRIPT));

/// JSON text, written piece by piece; [`fmt::Display`] gives all of it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Scripted {
    /// All but the script.
    text: String,
    /// Where the script stands in it.
    script: Option<usize>,
}

impl Scripted {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Scripted { text: String::with_capacity(bytes), script: None }
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.script.is_none()
    }

    /// The length of the whole text in bytes.
    pub fn len(&self) -> usize {
        self.text.len() + self.script.map_or(0, |_| QUOTED_SCRIPT.len())
    }

    /// The length without the script.
    pub(super) fn written(&self) -> usize {
        self.text.len()
    }

    /// What stands before the script, and what stands after it; `None` where there is no script.
    pub(crate) fn around_script(&self) -> (&str, Option<&str>) {
        match self.script {
            Some(at) => (&self.text[..at], Some(&self.text[at..])),
            None => (&self.text, None),
        }
    }

    /// Appends text that is JSON already.
    pub(crate) fn push(&mut self, json: &str) {
        self.text.push_str(json);
    }

    /// Appends a JSON string.
    pub(crate) fn push_quoted(&mut self, text: &str) {
        // Looks at each byte whatever came before, so that several are looked at in one go.
        let plain = |all: bool, byte: u8| all & (byte >= b' ') & (byte != b'"') & (byte != b'\\');
        if text == SCRIPT {
            self.push_script();
        } else if text.bytes().fold(true, plain) {
            self.text.push('"');
            self.text.push_str(text);
            self.text.push('"');
        } else {
            self.text.push_str(&quote(text));
        }
    }

    /// Appends another text, its script included.
    pub(super) fn push_scripted(&mut self, other: &Scripted) {
        let (before, after) = other.around_script();
        self.text.push_str(before);
        if let Some(after) = after {
            self.push_script();
            self.text.push_str(after);
        }
    }

    fn push_script(&mut self) {
        if self.script.is_none() {
            self.script = Some(self.text.len());
        } else {
            // There is one place only.
            self.text.push_str(&QUOTED_SCRIPT);
        }
    }

    /// Makes it a list of one.
    pub(super) fn into_list(mut self) -> Self {
        self.text.insert(0, '[');
        self.text.push(']');
        self.script = self.script.map(|at| at + 1);
        self
    }
}

impl From<&str> for Scripted {
    fn from(json: &str) -> Self {
        Scripted { text: json.to_owned(), script: None }
    }
}

impl fmt::Display for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = self.around_script();
        f.write_str(before)?;
        match after {
            Some(after) => f.write_str(&QUOTED_SCRIPT).and_then(|()| f.write_str(after)),
            None => Ok(()),
        }
    }
}

fn quote(text: &str) -> String {
    // Serialising a string to a string cannot fail.
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{QUOTED_SCRIPT, SCRIPT, Scripted};

    #[test]
    fn the_whole_text_is_what_was_written() {
        let mut inner = Scripted::default();
        inner.push("{\"command\":[");
        inner.push_quoted("a\"b\n");
        inner.push(",");
        inner.push_quoted(SCRIPT);
        inner.push("]}");
        let wanted = format!("{{\"command\":[\"a\\\"b\\n\",{}]}}", *QUOTED_SCRIPT);
        assert_eq!(inner.to_string(), wanted);
        assert_eq!(inner.clone().into_list().to_string(), format!("[{wanted}]"));
        // A second script is written out.
        let mut outer = Scripted::from("[");
        outer.push_scripted(&inner);
        outer.push(",");
        outer.push_scripted(&inner);
        outer.push("]");
        assert_eq!(outer.to_string(), format!("[{wanted},{wanted}]"));
        assert_eq!(outer.len(), outer.to_string().len());
    }
}
