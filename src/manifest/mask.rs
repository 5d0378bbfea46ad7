//! One line of a manifest, fit to be shown: what may be a secret is hidden.

use std::ops::Range;

use super::node::{Content, Node};
use crate::kubernetes::image::ImageRef;
use crate::text::printable_char;

/// What stands in place of a hidden value.
pub const HIDDEN: &str = "[hidden]";

/// Keys whose plain values are names, numbers and switches of Kubernetes' own, and shown. Everything else is
/// hidden: environment values, arguments, data, annotations, and whatever we know nothing of.
const SHOWN: &[&str] = &[
    "apiVersion",
    "claimName",
    "fieldPath",
    "image",
    "imagePullPolicy",
    "key",
    "kind",
    "medium",
    "memory",
    "mountPath",
    "name",
    "namespace",
    "optional",
    "readOnly",
    "replicas",
    "restartPolicy",
    "secretName",
    "type",
];

/// A line as it may be shown, and where in it the thing pointed at is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The text, without its line end.
    pub text: String,
    /// The bytes of `text` to underline.
    pub mark: Range<usize>,
}

/// The text of a document, with what may be shown of it. Made once for all lines that are asked for.
#[derive(Debug)]
pub struct Masked<'t> {
    text: &'t str,
    parts: Vec<Part>,
}

/// How much of a line is shown before the start of what is marked, and from there on, in bytes.
const AROUND: usize = 400;

impl<'t> Masked<'t> {
    /// Takes stock of all keys and scalars of a document.
    pub fn new(text: &'t str, root: &Node) -> Self {
        let mut parts = Vec::new();
        gather(text, root, false, &mut parts);
        parts.sort_by_key(|part| (part.bytes.start, part.bytes.end));
        let mut furthest = 0;
        for part in &mut parts {
            furthest = furthest.max(part.bytes.end);
            part.furthest = furthest;
        }
        Masked { text, parts }
    }

    /// The line on which `mark` begins. Only keys, punctuation and the values of a few known keys are let through:
    /// comments, and whatever else is not accounted for, are hidden too.
    pub fn line(&self, mark: Range<usize>) -> Line {
        let text = self.text;
        // A file may be one line of a megabyte.
        let from = text.floor_char_boundary(mark.start.saturating_sub(AROUND));
        let to = text.ceil_char_boundary(mark.start.saturating_add(AROUND));
        let start = text[from..mark.start].rfind('\n').map_or(from, |found| from + found + 1);
        let end = text[mark.start..to].find('\n').map_or(to, |found| mark.start + found);
        let cut_before = start == from && from > 0 && !text[..from].ends_with('\n');
        let cut_behind = end == to && to < text.len() && !text[to..].starts_with('\n');
        let first = self.parts.partition_point(|part| part.furthest <= start);
        let past = self.parts.partition_point(|part| part.bytes.start < end);

        let before = if cut_before { "…" } else { "" };
        let mut shown = Shown { text: before.to_owned(), mark: 0..0, wanted: mark };
        let mut at = start;
        for part in self.parts.get(first..past).unwrap_or_default() {
            let (from, to) = (part.bytes.start.max(at), part.bytes.end.min(end));
            if from > to || part.bytes.end < at || part.bytes.end <= start {
                continue;
            }
            shown.gap(&text[at..from]);
            let whole = part.bytes.start >= start && part.bytes.end <= end;
            shown.part(if part.plain && whole { &text[from..to] } else { HIDDEN }, from..to);
            at = to;
        }
        shown.gap(text[at..end].trim_end());
        if cut_behind {
            shown.text.push('…');
        }
        if shown.mark.is_empty() {
            shown.mark = shown.text.len() - shown.text.trim_start().len()..shown.text.len();
        }
        Line { text: shown.text, mark: shown.mark }
    }
}

#[derive(Debug)]
struct Part {
    bytes: Range<usize>,
    plain: bool,
    /// The end of the furthest of this part and all before it.
    furthest: usize,
}

impl Part {
    fn new(bytes: Range<usize>, plain: bool) -> Self {
        Part { furthest: bytes.end, bytes, plain }
    }
}

/// All keys and scalars.
fn gather(text: &str, node: &Node, plain: bool, parts: &mut Vec<Part>) {
    match &node.content {
        // An item of a list stands under no key of its own.
        Content::List(items) => items.iter().for_each(|item| gather(text, item, false, parts)),
        Content::Map(entries) => {
            for (key, value) in entries {
                parts.push(Part::new(key.place.bytes.clone(), !key.place.borrowed));
                gather(text, value, is_shown(&key.text, value), parts);
            }
        }
        _ => {
            let mut bytes = node.place.bytes.clone();
            // The span of a block scalar takes in the blanks before what comes next.
            bytes.end = bytes.start + text[bytes.clone()].trim_end().len();
            parts.push(Part::new(bytes, plain && !node.place.borrowed));
        }
    }
}

/// Whether the value of `key` may be shown. A URL may hold a password, and so may an image that is none.
fn is_shown(key: &str, value: &Node) -> bool {
    SHOWN.contains(&key)
        && value.text().is_none_or(|text| match key {
            "image" => ImageRef::parse(text).is_some(),
            _ => !text.contains("://"),
        })
}

struct Shown {
    text: String,
    mark: Range<usize>,
    wanted: Range<usize>,
}

impl Shown {
    fn gap(&mut self, gap: &str) {
        let comment = gap.find(" #").or_else(|| gap.starts_with('#').then_some(0));
        let gap = comment.map_or(gap, |found| gap[..found].trim_end());
        if gap.chars().all(|c| c.is_whitespace() || "-:,[]{}?|>+".contains(c)) {
            // A tab has no width of its own on a terminal, and a carriage return none at all.
            self.text.extend(gap.chars().filter(|c| *c != '\r').map(printable_char));
        } else {
            self.text.push_str(HIDDEN);
        }
    }

    fn part(&mut self, shown: &str, bytes: Range<usize>) {
        let from = self.text.len();
        self.text.extend(shown.chars().map(printable_char));
        if bytes.start >= self.wanted.start && (bytes.end <= self.wanted.end || self.mark.is_empty()) {
            let start = if self.mark.is_empty() { from } else { self.mark.start };
            if bytes.start <= self.wanted.end {
                self.mark = start..self.text.len();
            }
        }
    }
}
