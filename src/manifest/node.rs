//! A YAML value that remembers where it stands.

use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, Spanned};

/// A value of a document, with its place in the document's text.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub content: Content,
}

/// What a node holds. Numbers, booleans and null are read by the rules of kubectl's YAML 1.1.
#[derive(Debug, Clone)]
pub enum Content {
    /// `null`, `~` or nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order written.
    Map(Vec<(Key, Node)>),
}

/// The key of a mapping entry.
#[derive(Debug, Clone)]
pub struct Key {
    /// Where it stands.
    pub place: Place,
    /// Its text.
    pub text: String,
}

/// A place in the text of one document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Bytes from the start of the document's text. Exact for scalars; a block collection starts at its first
    /// entry and has no length of its own.
    pub bytes: Range<usize>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Whether the value was defined elsewhere and is only referred to here (`*alias`, `<<` merge).
    pub borrowed: bool,
}

impl Place {
    fn of(referenced: Location, defined: Location) -> Place {
        let span = referenced.span();
        let start = span.byte_offset().unwrap_or_default() as usize;
        let length = span.byte_len().unwrap_or_default() as usize;
        Place {
            bytes: start..start + length,
            line: referenced.line() as usize,
            column: referenced.column() as usize,
            borrowed: referenced != defined,
        }
    }
}

impl Node {
    /// A node made from JSON, without places.
    pub fn unplaced(value: Value) -> Node {
        let content = match value {
            Value::Null => Content::Null,
            Value::Bool(value) => Content::Bool(value),
            Value::Number(value) => Content::Number(value),
            Value::String(value) => Content::Text(value),
            Value::Array(items) => Content::List(items.into_iter().map(Node::unplaced).collect()),
            Value::Object(entries) => Content::Map(
                entries
                    .into_iter()
                    .map(|(text, value)| (Key { place: Place::default(), text }, Node::unplaced(value)))
                    .collect(),
            ),
        };
        Node { place: Place { line: 1, column: 1, ..Place::default() }, content }
    }

    /// The same value as JSON. A key given twice keeps its last value, as kubectl has it.
    pub fn to_json(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::Number(value) => Value::Number(value.clone()),
            Content::Text(value) => Value::String(value.clone()),
            Content::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Content::Map(entries) => {
                let mut map = Map::with_capacity(entries.len());
                for (key, value) in entries {
                    map.insert(key.text.clone(), value.to_json());
                }
                Value::Object(map)
            }
        }
    }

    /// The entry of a mapping with this key.
    pub fn entry(&self, key: &str) -> Option<(&Key, &Node)> {
        let Content::Map(entries) = &self.content else { return None };
        entries.iter().rev().find(|(name, _)| name.text == key).map(|(name, value)| (name, value))
    }

    /// The value of a mapping under this key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    /// The text, of a string.
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a sequence, none of anything else.
    pub fn items(&self) -> &[Node] {
        match &self.content {
            Content::List(items) => items,
            _ => &[],
        }
    }

    /// Whether it holds no other nodes.
    pub fn is_scalar(&self) -> bool {
        !matches!(self.content, Content::List(_) | Content::Map(_))
    }

    /// The nodes along a JSON pointer (RFC 6901), this one first, as far as the document goes along with it. The
    /// flag says whether the whole pointer was found.
    pub fn walk(&self, pointer: &str) -> (Vec<Step<'_>>, bool) {
        let mut steps = vec![Step { key: None, node: self }];
        let mut here = self;
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            let next = match &here.content {
                Content::Map(_) => here.entry(&token).map(|(key, node)| Step { key: Some(key), node }),
                Content::List(items) => token
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get(index))
                    .map(|node| Step { key: None, node }),
                _ => None,
            };
            let Some(step) = next else { return (steps, false) };
            here = step.node;
            steps.push(step);
        }
        (steps, true)
    }

    /// The node at a JSON pointer.
    pub fn at(&self, pointer: &str) -> Option<&Node> {
        match self.walk(pointer) {
            (steps, true) => steps.last().map(|step| step.node),
            _ => None,
        }
    }

    /// The end of the last scalar or key in here, in bytes from the start of the document.
    pub fn end(&self) -> usize {
        let inner = match &self.content {
            Content::List(items) => items.iter().map(Node::end).max(),
            Content::Map(entries) => {
                entries.iter().map(|(key, node)| node.end().max(key.place.bytes.end)).max()
            }
            _ => None,
        };
        inner.unwrap_or_default().max(self.place.bytes.end)
    }

    /// Whether any part of it was defined elsewhere (aliases, merges).
    pub fn borrows(&self) -> bool {
        self.place.borrowed
            || match &self.content {
                Content::List(items) => items.iter().any(Node::borrows),
                Content::Map(entries) => {
                    entries.iter().any(|(key, node)| key.place.borrowed || node.borrows())
                }
                _ => false,
            }
    }
}

/// One step on the way along a JSON pointer.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The key that led here; none for the root and for the items of a list.
    pub key: Option<&'a Key>,
    /// What is here.
    pub node: &'a Node,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Node { place: Place::of(spanned.referenced, spanned.defined), content: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        Content::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Content, E> {
        Number::from_f64(value).map(Content::Number).ok_or_else(|| E::custom("a number JSON cannot hold"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Content, E> {
        Ok(Content::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Content, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Content::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let place = Place::of(key.referenced, key.defined);
            entries.push((Key { place, text: key.value }, map.next_value()?));
        }
        Ok(Content::Map(entries))
    }
}
