//! Changes to a manifest as edits of its text, so that comments, key order and quoting stay as they are.
//!
//! An edit is made where the place is plain to see and refused (`None`) where it is not: under an alias, a tag or
//! a dash on a line of its own. The caller compares the outcome with the same change made to the parsed document,
//! so a wrong edit never gets out.

use std::ops::Range;

use serde_json::Value;

use super::emit::{self, Lists};
use super::node::{Content, Key, Node};

/// One change, as in a JSON Patch (RFC 6902).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Adds an entry to a mapping or an item to a list, or sets an entry that is there.
    Add(String, Value),
    /// Sets what is there.
    Replace(String, Value),
    /// Takes out what is there.
    Remove(String),
}

/// The text of one document after the changes; `None` where the text does not allow for it.
pub fn apply(text: &str, changes: &[Change]) -> Option<String> {
    let mut text = text.to_owned();
    for change in changes {
        let root = super::parse(&text).ok()??;
        let (range, new) = Edit { text: &text, root: &root }.plan(change)?;
        let new = if text.contains("\r\n") { new.replace('\n', "\r\n") } else { new };
        text.replace_range(range, &new);
    }
    Some(text)
}

type Splice = (Range<usize>, String);

struct Edit<'a> {
    text: &'a str,
    root: &'a Node,
}

impl<'a> Edit<'a> {
    fn plan(&self, change: &Change) -> Option<Splice> {
        let (Change::Add(pointer, _) | Change::Replace(pointer, _) | Change::Remove(pointer)) = change;
        let (parent, token) = pointer.rsplit_once('/')?;
        let token = token.replace("~1", "/").replace("~0", "~");
        let (steps, found) = self.root.walk(parent);
        // What is borrowed from elsewhere cannot be changed here without changing it there too.
        if !found || steps.iter().any(|step| step.node.place.borrowed) {
            return None;
        }
        let here = steps.last()?;
        match (&here.node.content, change) {
            (Content::Map(entries), Change::Remove(_)) => self.remove_entry(here.node, entries, &token),
            (Content::Map(entries), Change::Add(_, value) | Change::Replace(_, value)) => {
                match here.node.entry(&token) {
                    Some((key, old)) => self.set_entry(entries, key, old, value),
                    None => self.add_entry(here.node, entries, &token, value),
                }
            }
            (Content::List(items), _) => {
                let list = List { key: here.key, node: here.node, items };
                let index = if token == "-" { items.len() } else { token.parse().ok()? };
                match change {
                    Change::Add(_, value) => self.add_item(&list, index, value),
                    Change::Replace(_, value) => self.set_item(&list, index, value),
                    Change::Remove(_) => self.remove_item(&list, index),
                }
            }
            _ => None,
        }
    }

    fn add_entry(&self, map: &Node, entries: &[(Key, Node)], name: &str, value: &Value) -> Option<Splice> {
        // Beside its sister `containers` an initContainers list is where people look for it.
        let preferred = entries.iter().filter(|(key, _)| key.text == "containers");
        if Self::is_flow(map) {
            let at = preferred
                .map(|(key, _)| key)
                .chain(entries.iter().map(|(key, _)| key))
                .next()?
                .place
                .bytes
                .start;
            let name = Value::String(name.to_owned());
            return Some(match self.flow_text(at, value) {
                (text, Some(blank)) => (at..at, format!("{name}: {text},\n{blank}")),
                (text, None) => (at..at, format!("{name}: {text}, ")),
            });
        }
        let (key, _) = preferred.chain(entries).find(|(key, _)| self.before_on_line(key).is_some())?;
        let indent = self.before_on_line(key)?.len();
        let at = self.above_comments(self.line_start(key.place.bytes.start), indent);
        Some((at..at, self.entry_text(name, value, indent, self.lists_of(entries))))
    }

    fn set_entry(&self, entries: &[(Key, Node)], key: &Key, old: &Node, value: &Value) -> Option<Splice> {
        if old.place.borrowed || key.place.borrowed {
            return None;
        }
        if let (Value::String(new), true) = (value, old.text().is_some()) {
            return Some((old.place.bytes.clone(), self.requote(old, new)));
        }
        let after_key = key.place.bytes.end;
        let colon = after_key + self.text[after_key..].find(':')? + 1;
        let end = self.end(old)?.max(colon);
        match (self.before_on_line(key), self.text[key.place.bytes.start..].starts_with('"')) {
            (Some(blank), false) if !self.is_nested_in_flow(key) => {
                let text = self.entry_text(&key.text, value, blank.len(), self.lists_of(entries));
                let start = self.line_start(key.place.bytes.start);
                Some((start..end, text.trim_end_matches('\n').to_owned()))
            }
            _ => Some((colon..end, format!(" {value}"))),
        }
    }

    fn remove_entry(&self, map: &Node, entries: &[(Key, Node)], name: &str) -> Option<Splice> {
        let position = entries.iter().position(|(key, _)| key.text == name)?;
        let (key, value) = &entries[position];
        if entries.len() == 1 || value.place.borrowed {
            return None;
        }
        if Self::is_flow(map) {
            return self.cut_flow(
                entries.iter().map(|(key, value)| Some(key.place.bytes.start..self.end(value)?)),
                position,
            );
        }
        self.before_on_line(key)?;
        let colon = key.place.bytes.end + self.text[key.place.bytes.end..].find(':')? + 1;
        let end = self.end(value)?.max(colon);
        Some((self.line_start(key.place.bytes.start)..self.line_end(end), String::new()))
    }

    fn add_item(&self, list: &List<'_>, index: usize, value: &Value) -> Option<Splice> {
        if list.items.is_empty() {
            return self.fill(list, value);
        }
        if Self::is_flow(list.node) {
            return Some(match list.items.get(index) {
                Some(item) => {
                    let at = item.place.bytes.start;
                    match self.flow_text(at, value) {
                        (text, Some(blank)) => (at..at, format!("{text},\n{blank}")),
                        (text, None) => (at..at, format!("{text}, ")),
                    }
                }
                None => {
                    let last = list.items.last()?;
                    let at = self.end(last)?;
                    match self.flow_text(last.place.bytes.start, value) {
                        (text, Some(blank)) => (at..at, format!(",\n{blank}{text}")),
                        (text, None) => (at..at, format!(", {text}")),
                    }
                }
            });
        }
        let dash = self.dash(&list.items[0])?;
        let text = self.item_text(list, dash, value);
        match list.items.get(index) {
            Some(item) => {
                self.dash(item)?;
                let at = self.above_comments(self.line_start(item.place.bytes.start), dash);
                Some((at..at, text))
            }
            None => {
                let at = self.line_end(self.end(list.items.last()?)?);
                let broken = at > 0 && !self.text[..at].ends_with('\n');
                Some((at..at, if broken { format!("\n{}", text.trim_end_matches('\n')) } else { text }))
            }
        }
    }

    fn set_item(&self, list: &List<'_>, index: usize, value: &Value) -> Option<Splice> {
        let item = list.items.get(index)?;
        if item.place.borrowed {
            return None;
        }
        if Self::is_flow(list.node) {
            let start = item.place.bytes.start;
            return Some((start..self.end(item)?, self.flow_text(start, value).0));
        }
        let dash = self.dash(item)?;
        let text = self.item_text(list, dash, value);
        Some((self.line_start(item.place.bytes.start)..self.line_end(self.end(item)?), text))
    }

    fn remove_item(&self, list: &List<'_>, index: usize) -> Option<Splice> {
        let item = list.items.get(index)?;
        if Self::is_flow(list.node) {
            return self.cut_flow(
                list.items.iter().map(|item| Some(item.place.bytes.start..self.end(item)?)),
                index,
            );
        }
        self.dash(item)?;
        if list.items.len() == 1 {
            let key = list.key?;
            let colon = key.place.bytes.end + self.text[key.place.bytes.end..].find(':')? + 1;
            return Some((colon..self.end(item)?, " []".to_owned()));
        }
        Some((self.line_start(item.place.bytes.start)..self.line_end(self.end(item)?), String::new()))
    }

    /// Puts the first item into an empty list (`[]`).
    fn fill(&self, list: &List<'_>, value: &Value) -> Option<Splice> {
        let end = self.end(list.node)?;
        let key = list.key?;
        let flow = || Some((list.node.place.bytes.start..end, format!("[{value}]")));
        match self.before_on_line(key) {
            Some(blank) if !self.is_nested_in_flow(key) => {
                let colon = key.place.bytes.end + self.text[key.place.bytes.end..].find(':')? + 1;
                let block = emit::block(value, Lists::Flush);
                let dash = blank.len();
                let text = emit::indented(&block, &format!("{}- ", " ".repeat(dash)), dash + 2);
                Some((colon..end, format!("\n{}", text.trim_end_matches('\n'))))
            }
            _ => flow(),
        }
    }

    /// Takes one part of a flow collection out, with the comma that it leaves over.
    fn cut_flow(&self, parts: impl Iterator<Item = Option<Range<usize>>>, index: usize) -> Option<Splice> {
        let parts: Vec<Range<usize>> = parts.collect::<Option<_>>()?;
        let range = match (index.checked_sub(1), parts.get(index + 1)) {
            (_, Some(next)) => parts[index].start..next.start,
            (Some(before), None) => parts[before].end..parts[index].end,
            (None, None) => parts[index].clone(),
        };
        Some((range, String::new()))
    }

    fn entry_text(&self, name: &str, value: &Value, indent: usize, lists: Lists) -> String {
        let mut entry = serde_json::Map::new();
        entry.insert(name.to_owned(), value.clone());
        let blank = " ".repeat(indent);
        emit::indented(&emit::block(&Value::Object(entry), lists), &blank, indent)
    }

    fn item_text(&self, list: &List<'_>, dash: usize, value: &Value) -> String {
        let flush = list.key.is_none_or(|key| key.place.column > dash);
        let block = emit::block(value, if flush { Lists::Flush } else { Lists::Indented });
        emit::indented(&block, &format!("{}- ", " ".repeat(dash)), dash + 2)
    }

    /// How the lists of this mapping stand under their keys, judged by its own ones.
    fn lists_of(&self, entries: &[(Key, Node)]) -> Lists {
        for (key, value) in entries {
            if let (Content::List(items), false) = (&value.content, Self::is_flow(value))
                && let Some(dash) = items.first().and_then(|item| self.dash(item))
            {
                return if dash < key.place.column { Lists::Flush } else { Lists::Indented };
            }
        }
        Lists::Flush
    }

    /// The white space before a key that begins its line; `None` for any other key.
    fn before_on_line(&self, key: &Key) -> Option<&'a str> {
        self.blank_before(key.place.bytes.start).filter(|_| !key.place.borrowed)
    }

    /// The blanks between the start of a line and a place in it, where there is nothing else.
    fn blank_before(&self, at: usize) -> Option<&'a str> {
        let before = &self.text[self.line_start(at)..at];
        before.bytes().all(|byte| byte == b' ').then_some(before)
    }

    /// Whether a key that begins its line is inside braces all the same.
    fn is_nested_in_flow(&self, key: &Key) -> bool {
        fn inside(node: &Node, key: &Key, flow: bool) -> bool {
            let flow = flow || Edit::is_flow(node);
            match &node.content {
                Content::List(items) => items.iter().any(|item| inside(item, key, flow)),
                Content::Map(entries) => entries
                    .iter()
                    .any(|(own, value)| (flow && own.place == key.place) || inside(value, key, flow)),
                _ => false,
            }
        }
        inside(self.root, key, false)
    }

    /// The column (from 0) of the dash before an item that shares the line with it and nothing else.
    fn dash(&self, item: &Node) -> Option<usize> {
        let start = item.place.bytes.start;
        let before = &self.text[self.line_start(start)..start];
        let indent = before.bytes().take_while(|byte| *byte == b' ').count();
        let rest = before[indent..].strip_prefix('-')?;
        (rest.starts_with(' ') && rest.bytes().all(|byte| byte == b' ')).then_some(indent)
    }

    /// Whether a collection is in brackets: only then has its place a length, that of the first bracket.
    fn is_flow(node: &Node) -> bool {
        !node.is_scalar() && !node.place.borrowed && !node.place.bytes.is_empty()
    }

    /// JSON for a place in brackets: on lines of its own where its neighbour begins a line, else on one.
    fn flow_text(&self, neighbour: usize, value: &Value) -> (String, Option<&'a str>) {
        match self.blank_before(neighbour) {
            Some(blank) => (format!("{value:#}").replace('\n', &format!("\n{blank}")), Some(blank)),
            None => (value.to_string(), None),
        }
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |found| found + 1)
    }

    /// The start of the next line, or the end of the text. A place at the start of a line is where it is.
    fn line_end(&self, at: usize) -> usize {
        if at > 0 && self.text[..at].ends_with('\n') {
            return at;
        }
        self.text[at..].find('\n').map_or(self.text.len(), |found| at + found + 1)
    }

    /// The start of the comments that stand right above a line and belong to it.
    fn above_comments(&self, line: usize, indent: usize) -> usize {
        let mut at = line;
        while at > 0 {
            let start = self.line_start(at - 1);
            let above = &self.text[start..at];
            let blank = above.len() - above.trim_start_matches(' ').len();
            if blank != indent || !above[blank..].starts_with('#') {
                break;
            }
            at = start;
        }
        at
    }

    /// Where a value ends, brackets included; the white space that a block scalar's span takes in is left out.
    fn end(&self, node: &Node) -> Option<usize> {
        if node.place.borrowed {
            return Some(node.place.bytes.end);
        }
        let inner = match &node.content {
            Content::List(items) => {
                items.iter().map(|item| self.end(item)).try_fold(0, |most, end| Some(most.max(end?)))?
            }
            Content::Map(entries) => entries
                .iter()
                .map(|(key, value)| Some(self.end(value)?.max(key.place.bytes.end)))
                .try_fold(0, |most, end: Option<usize>| Some(most.max(end?)))?,
            _ => {
                let range = node.place.bytes.clone();
                return Some(range.start + self.text.get(range)?.trim_end().len());
            }
        };
        if !Self::is_flow(node) {
            return Some(inner.max(node.place.bytes.end));
        }
        self.closing_bracket(inner.max(node.place.bytes.end))
    }

    /// The end of the closing bracket that comes next, over white space, a comma and comments.
    fn closing_bracket(&self, mut at: usize) -> Option<usize> {
        loop {
            let rest = &self.text[at..];
            let next = rest.chars().next()?;
            match next {
                ']' | '}' => return Some(at + 1),
                '#' => at += rest.find('\n')?,
                ',' | ':' => at += 1,
                white if white.is_whitespace() => at += white.len_utf8(),
                _ => return None,
            }
        }
    }

    /// A new string in the quotes of the old one.
    fn requote(&self, old: &Node, new: &str) -> String {
        let old = &self.text[old.place.bytes.clone()];
        let simple = !new.contains(['\'', '"', '\\']) && !new.chars().any(char::is_control);
        match old.chars().next() {
            Some(quote @ ('"' | '\'')) if simple => format!("{quote}{new}{quote}"),
            Some('"') => Value::String(new.to_owned()).to_string(),
            _ => emit::scalar(new),
        }
    }
}

struct List<'a> {
    key: Option<&'a Key>,
    node: &'a Node,
    items: &'a [Node],
}
