//! The quick way into a review: read in one step where it is written as the API server writes it.
//!
//! Compact JSON, `kind` and `apiVersion` first. Every byte is checked, so that whatever is read here is well-formed;
//! but only to find where values end. Whatever is written differently is left to serde, which also tells what is wrong.

use super::request::{Raw, Request};
use crate::json::check::Walk;
use crate::json::{self, Readable};
use crate::workload::outline::{Outline, Part};

/// How the API server begins every review.
pub(super) const START: &str = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":"#;

/// The request of a review; `None` when it is not written as the API server writes it.
pub(super) fn request(body: &str) -> Option<Request<'_>> {
    let text = body.trim_ascii_end().strip_prefix(START)?.strip_suffix('}')?;
    let mut walk = Walk::new(text);
    let mut request = Request::default();
    let mut seen = Vec::with_capacity(16);
    walk.members(|walk, key| {
        if seen.contains(&key) {
            return None;
        }
        seen.push(key);
        match key {
            "object" => request.object = object(walk)?,
            "oldObject" => request.old_object = object(walk)?,
            _ => take(&mut request, key, walk.value()?)?,
        }
        Some(())
    })?;
    (walk.is_done() && seen.contains(&"uid")).then_some(request)
}

/// What stands in a review up to the operation, of a text that may break off after it; `None` when that is not there
/// or not written as the API server writes it.
pub(super) fn head(body: &str) -> Option<Request<'_>> {
    let text = body.strip_prefix(START)?;
    let mut walk = Walk::new(text);
    let (mut request, mut whole) = (Request::default(), false);
    walk.members(|walk, key| {
        take(&mut request, key, walk.value()?)?;
        whole = key == "operation";
        // Nothing is read behind it, nor in an object before it.
        (!whole && key != "object" && key != "oldObject").then_some(())
    });
    (whole && walk.is_sound()).then_some(request)
}

/// Puts one member into the request; the API server's `null` and an absent member are the same.
fn take<'a>(request: &mut Request<'a>, key: &str, value: &'a str) -> Option<()> {
    fn optional<'a, T: Readable<'a>>(value: &'a str) -> Option<T> {
        json::read::<Option<T>>(value).map(Option::unwrap_or_default)
    }
    match key {
        "uid" => request.uid = json::read(value)?,
        "kind" => request.kind = json::read(value)?,
        "subResource" => request.sub_resource = optional(value)?,
        "name" => request.name = optional(value)?,
        "namespace" => request.namespace = optional(value)?,
        "operation" => request.operation = optional(value)?,
        "dryRun" => request.dry_run = optional(value)?,
        _ => {}
    }
    Some(())
}

/// Steps over the object of a review and notes what lies around its pod template; nothing for `null`.
fn object<'a>(walk: &mut Walk<'a>) -> Option<Option<Raw<'a>>> {
    let start = walk.at();
    let mut outline = Some(Outline::default());
    if !walk.at_object() {
        let text = walk.value()?;
        return Some((text != "null").then(|| Raw::checked(text, None)));
    }
    walk.members(|walk, key| {
        let Some(part) = Part::under(key) else { return walk.value().map(drop) };
        if !walk.at_object() {
            // `{}` and `null` have no members. Of whatever else the outline is made later, with an error.
            let value = walk.value()?;
            outline = outline.filter(|_| matches!(value, "{}" | "null"));
            return Some(());
        }
        walk.members(|walk, inner| {
            let value = walk.value()?;
            if let Some(slot) = outline.as_mut().and_then(|outline| outline.slot(part, inner)) {
                *slot = Some(value);
            }
            Some(())
        })
    })?;
    Some(Some(Raw::checked(walk.since(start)?, outline)))
}

#[cfg(test)]
mod tests {
    use super::{START, request};

    #[test]
    fn leaves_what_is_written_differently_to_serde() {
        let good =
            format!(r#"{START}{{"uid":"u","operation":"CREATE","object":{{"a":1}},"oldObject":null}}}}"#);
        let read = request(&good).expect("a review as the API server writes it");
        assert_eq!(
            (&*read.uid, read.object.map(|o| o.get()), read.old_object.is_none()),
            ("u", Some("{\"a\":1}"), true)
        );
        for other in [
            good.replace(":{\"a\"", ": {\"a\""),
            good.replace("\"uid\":\"u\",", ""),
            good.replace("\"operation\"", "\"uid\":\"v\",\"operation\""),
            good.replace("\"uid\":\"u\"", "\"uid\":1"),
            format!("{good}}}"),
            format!(" {good}"),
        ] {
            assert!(request(&other).is_none(), "{other}");
        }
    }
}
