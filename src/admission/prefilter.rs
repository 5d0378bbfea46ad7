//! Settles a review that has nothing to do with Prefect without parsing the object.
//!
//! Sound because detection needs the lower-case word `prefect` in a command, an argument or an annotation of ours,
//! and JSON can hide a letter of it only behind a `\u` escape, which is looked for too. Only the exact shape that
//! the API server writes is settled here (compact, the request's head before the object); anything else takes the
//! full path, which also tells malformed JSON.

use std::fmt;

use memchr::memmem;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::compact::START;
use super::request::GroupVersionKind;
use crate::workload::view::Text;

/// What stands before the object in a review.
#[derive(Debug, Default)]
pub struct Head<'a> {
    /// Echoed byte for byte.
    pub uid: Text<'a>,
    /// The object's kind.
    pub kind: GroupVersionKind<'a>,
    /// The name, if it has one yet.
    pub name: Text<'a>,
    /// The namespace.
    pub namespace: Text<'a>,
    /// What is being done.
    pub operation: Text<'a>,
    /// Whether nothing will be stored.
    pub dry_run: bool,
}

/// The head of a review that names Prefect nowhere; `None` when it may, or when it is not written as the API
/// server writes it.
pub fn unrelated(body: &[u8]) -> Option<Head<'_>> {
    let body = body.trim_ascii_end();
    let request = body.strip_prefix(START.as_bytes())?;
    if !body.ends_with(b"}}") || names_prefect(body) {
        return None;
    }
    let mut head = Head::default();
    let mut deserializer = serde_json::Deserializer::from_slice(request);
    // The visitor stops with an error once it has the operation: what follows stays unread.
    let stopped = UpToOperation(&mut head).deserialize(&mut deserializer).is_err();
    let tail = &request[request.len().saturating_sub(512)..];
    head.dry_run = memmem::find(tail, br#","dryRun":true"#).is_some();
    (stopped && !head.uid.is_empty() && !head.operation.is_empty()).then_some(head)
}

/// Whether the word stands anywhere, plainly or behind escapes.
fn names_prefect(body: &[u8]) -> bool {
    // Letters escape as \u0040 to \u007f; the API server itself only writes \u0026, \u003c, \u003e and \u2028.
    let escaped = || {
        memmem::find_iter(body, br"\u00").any(|at| body.get(at + 4).is_some_and(|c| matches!(c, b'4'..=b'7')))
    };
    memmem::find(body, b"prefect").is_some() || escaped()
}

/// Reads the request's keys up to `operation`, then stops.
struct UpToOperation<'h, 'de>(&'h mut Head<'de>);

impl<'de> DeserializeSeed<'de> for UpToOperation<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for UpToOperation<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Text<'de>>()? {
            match &*key {
                "uid" => self.0.uid = map.next_value()?,
                "kind" => self.0.kind = map.next_value()?,
                "name" => self.0.name = map.next_value()?,
                "namespace" => self.0.namespace = map.next_value()?,
                "operation" => {
                    self.0.operation = map.next_value()?;
                    return Err(A::Error::custom("the head is read"));
                }
                "object" | "oldObject" => break,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        self.0.operation = Text::default();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::unrelated;

    const HEAD: &str = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u-1","kind":{"group":"apps","version":"v1","kind":"Deployment"},"name":"web","namespace":"n","operation":"CREATE","userInfo":{},"object":"#;

    fn review(object: &str) -> String {
        format!(r#"{HEAD}{object},"oldObject":null,"dryRun":true,"options":null}}}}"#)
    }

    #[test]
    fn settles_what_names_prefect_nowhere() {
        let body = review(r#"{"image":"nginx \u003c"}"#);
        let head = unrelated(body.as_bytes()).expect("an unrelated review");
        assert_eq!((&*head.uid, &*head.name, &*head.operation, head.dry_run), ("u-1", "web", "CREATE", true));
    }

    #[test]
    fn leaves_everything_else_to_the_full_path() {
        let spellings = [r#"{"a":"prefect"}"#, r#"{"a":"\u0070refect"}"#, r#"{"a":"p\u0072efect"}"#];
        for object in spellings {
            assert!(unrelated(review(object).as_bytes()).is_none(), "{object}");
        }
        let body = review(r#"{"image":"nginx"}"#);
        assert!(unrelated(&body.as_bytes()[..body.len() - 1]).is_none());
        assert!(unrelated(body.replace("\"uid\":\"u-1\",", "").as_bytes()).is_none());
        assert!(unrelated(format!(" {body}").as_bytes()).is_none());
    }
}
