//! YAML text for what we add to a manifest.

use serde_json::Value;

/// How lists stand under their key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    /// The dash under the first letter of the key, as `kubectl get -o yaml` writes.
    Flush,
    /// The dash two columns further in.
    Indented,
}

/// A value as YAML in block style, without a line end at its end. Strings that some reader would take for a
/// boolean, a number or a date are quoted; text of several lines is a literal block.
pub fn block(value: &Value, lists: Lists) -> String {
    let options = serde_saphyr::ser_options! {
        compact_list_indent: lists == Lists::Flush,
        // Never fold: a folded URL or command is hard to read and to search.
        folded_wrap_chars: usize::MAX,
    };
    let mut text = String::new();
    serde_saphyr::to_fmt_writer_with_options(&mut text, value, options)
        .expect("a JSON value has only string keys and finite numbers, which YAML can hold");
    text.truncate(text.trim_end_matches('\n').len());
    text
}

/// One string as a YAML scalar on one line.
pub fn scalar(text: &str) -> String {
    let written = block(&Value::String(text.to_owned()), Lists::Flush);
    if written.contains('\n') {
        // A JSON string is a YAML double-quoted scalar, but for surrogate pairs, which serde_json does not write.
        return Value::String(text.to_owned()).to_string();
    }
    written
}

/// A block whose first line begins with `first` and whose others are indented by `indent` blanks.
pub fn indented(block: &str, first: &str, indent: usize) -> String {
    let mut text = String::new();
    for (number, line) in block.lines().enumerate() {
        if number == 0 {
            text.push_str(first);
        } else if !line.is_empty() {
            text.extend(std::iter::repeat_n(' ', indent));
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}
