//! JSON as it lies in a review: serde_json reads it, and nothing else does.
//!
//! Views are serde structs that borrow from the text. What is copied or not looked at stays text ([`Raw`]). A view is
//! never read from a list of its values, which serde would take: fields that hold views say so ([`object`],
//! [`objects`]). `null` reads as absent, as Go's decoder has it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// One JSON value as text, byte for byte. Well-formed; its content may be secret, so it is not for printing.
#[derive(Clone, Copy, serde::Deserialize, serde::Serialize)]
#[serde(transparent)]
pub struct Raw<'a>(#[serde(borrow)] &'a RawValue);

impl<'a> Raw<'a> {
    /// Checks a text.
    ///
    /// # Errors
    /// When it is no JSON.
    pub fn of(text: &'a str) -> Result<Self, Unreadable> {
        serde_json::from_str(text).map_err(|_| why::<Self>(text))
    }

    /// A copy.
    pub fn to_shared(self) -> Arc<RawValue> {
        self.0.to_owned().into()
    }

    /// The text.
    pub fn get(self) -> &'a str {
        self.0.get()
    }
}

impl<'a> From<&'a RawValue> for Raw<'a> {
    fn from(text: &'a RawValue) -> Self {
        Raw(text)
    }
}

impl Default for Raw<'_> {
    fn default() -> Self {
        Raw(RawValue::NULL)
    }
}

impl fmt::Debug for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// Equal text, or text that parses to the same value (key order and white space aside). Texts of more objects than are
/// read are the same only where they are equal to the letter.
pub fn same(a: &str, b: &str) -> bool {
    let value = |text| serde_json::from_str::<Value>(text).ok();
    a == b
        || (!holds_too_many_objects(a)
            && !holds_too_many_objects(b)
            && value(a).is_some_and(|a| Some(a) == value(b)))
}

/// Why an object could not be read: the path to the fault and what is wrong there. Never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` {problem}")]
pub struct Unreadable {
    /// The field's path: `spec.template.spec.containers[0].command`.
    pub path: String,
    /// What is wrong there.
    pub problem: String,
}

impl Unreadable {
    /// Puts the path of a part before the path of a fault inside it.
    pub(crate) fn within(self, base: &str) -> Self {
        let path = match self.path.as_str() {
            _ if base.is_empty() => self.path,
            "." => base.to_owned(),
            below => format!("{base}.{below}"),
        };
        Unreadable { path, ..self }
    }
}

/// Reads an object; a failure names the path and never quotes a value.
///
/// # Errors
/// When it is no JSON, or not shaped as the view.
pub fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Unreadable> {
    serde_json::from_str(text).map(|Object(view)| view).map_err(|_| why::<Object<T>>(text))
}

/// How many objects a part of a review may hold. As text an object may be two bytes, as a container that was read it is
/// 450; the 1.5 MiB that etcd takes hold some 20 000 as people write them.
const MOST_OBJECTS: usize = 50_000;

fn holds_too_many_objects(text: &str) -> bool {
    text.len() > MOST_OBJECTS && memchr::memchr_iter(b'{', text.as_bytes()).count() > MOST_OBJECTS
}

/// Reads a part of a review, unless it holds more objects than anybody writes.
///
/// # Errors
/// When it does, or is not shaped as the view.
pub(crate) fn read<'a, T: Deserialize<'a>>(part: Raw<'a>) -> Result<T, Unreadable> {
    let text = part.get();
    if holds_too_many_objects(text) {
        let problem = format!("holds more objects than are read ({MOST_OBJECTS})");
        return Err(Unreadable { path: ".".to_owned(), problem });
    }
    parse(text)
}

/// A view that is read from an object alone.
#[derive(Clone)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// For a field that holds a view; `null` is its default.
pub(crate) fn object<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    object_or_none(deserializer).map(Option::unwrap_or_default)
}

/// For a field that may hold a view.
pub(crate) fn object_or_none<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Object<T>>::deserialize(deserializer)?.map(|Object(view)| view))
}

/// For a field that holds a list of views; `null` is none.
pub(crate) fn objects<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    objects_or_none(deserializer).map(Option::unwrap_or_default)
}

/// For a field that may hold a list of views.
pub(crate) fn objects_or_none<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let list: Option<Vec<Object<T>>> = Option::deserialize(deserializer)?;
    Ok(list.map(|list| list.into_iter().map(|Object(view)| view).collect()))
}

/// Reads `null` as the default, as Go's decoder does.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a part whose shape nobody promises; what has another one reads as the default. A kind that the policy names may
/// mean something else by `replicas` or `strategy` than a Deployment.
pub(crate) fn odd_is_default<'a, T: Deserialize<'a> + Default>(part: Option<Raw<'a>>) -> T {
    part.and_then(|part| serde_json::from_str(part.get()).ok()).unwrap_or_default()
}

/// Parses once more to learn where it failed; the happy path does not pay for it.
fn why<'a, T: Deserialize<'a>>(text: &'a str) -> Unreadable {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Ok(_) => Unreadable {
            path: ".".to_owned(),
            problem: "is followed by something that is no JSON".to_owned(),
        },
        Err(error) => {
            let path = match error.path().to_string() {
                unknown if unknown == "?" => ".".to_owned(),
                path => path,
            };
            let inner = error.into_inner();
            let problem = match inner.classify() {
                serde_json::error::Category::Data => describe(&inner.to_string()),
                _ => format!("is no JSON (line {}, column {})", inner.line(), inner.column()),
            };
            Unreadable { path, problem }
        }
    }
}

/// serde's message without the value it quotes: `invalid type: string "hunter2", expected a sequence`.
fn describe(message: &str) -> String {
    match message.rsplit_once("expected ") {
        Some((_, expected)) => {
            let expected = match expected.split(" at line ").next().unwrap_or(expected) {
                "a map" => "an object",
                structure if structure.starts_with("struct ") => "an object",
                "a sequence" => "a list",
                "a borrowed string" => "a string",
                other => other,
            };
            format!("should be {expected}")
        }
        None if message.contains("missing field") => "lacks a field that it needs".to_owned(),
        None if message.contains("duplicate field") => "holds a field twice".to_owned(),
        None => "has an unexpected value".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Raw, Unreadable, objects, parse, same};

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    struct View {
        #[serde(default)]
        number: u8,
        #[serde(default, deserialize_with = "super::object")]
        inner: Box<Inner>,
        #[serde(default, deserialize_with = "objects")]
        list: Vec<Inner>,
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    struct Inner {
        #[serde(default)]
        text: String,
    }

    #[test]
    fn views_are_read_from_objects_alone() {
        let view: View = parse(r#"{"number":1,"inner":null,"list":[{"text":"a"}],"more":[[]]}"#).unwrap();
        assert_eq!(view, View { number: 1, list: vec![Inner { text: "a".to_owned() }], ..View::default() });
        for (text, path, problem) in [
            ("[1]", ".", "should be an object"),
            (r#"{"inner":["a"]}"#, "inner", "should be an object"),
            (r#"{"list":[{},["a"]]}"#, "list[1]", "should be an object"),
            (r#"{"list":[{"text":7}]}"#, "list[0].text", "should be a string"),
            (r#"{"number":1,"number":2}"#, ".", "holds a field twice"),
            (r#"{"number":1} x"#, ".", "is followed by something that is no JSON"),
            ("{", ".", "is no JSON (line 1, column 1)"),
        ] {
            let wanted = Unreadable { path: path.to_owned(), problem: problem.to_owned() };
            assert_eq!(parse::<View>(text), Err(wanted), "{text}");
        }
    }

    #[test]
    fn texts_are_compared_by_meaning() {
        assert!(same(r#"{"a":1e2,"b":["\u0061"]}"#, r#"{ "b": ["a"], "a": 100.0 }"#));
        assert!(!same(r#"{"a":1}"#, r#"{"a":1,"b":2}"#) && !same("[1,2]", "[2,1]") && !same("1", "\"1\""));
        // What serde_json cannot hold as a value is compared as text.
        assert!(same("1e400", "1e400") && !same("1e400", "1e401"));
    }

    #[test]
    fn texts_are_kept_as_they_are_written() {
        let text = r#"{"a": 1.0, "a": 1e400}"#;
        assert_eq!(serde_json::to_string(&Raw::of(text).unwrap()).unwrap(), text);
        assert!(Raw::of("{").is_err() && Raw::of("1 2").is_err());
    }
}
