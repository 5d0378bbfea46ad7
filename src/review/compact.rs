//! The quick way into a review: read in one step where it is written as the API server writes it.
//!
//! Compact JSON, `kind` and `apiVersion` first. Every byte is checked, so that whatever is read here is well-formed;
//! but only to find where values end, except in the pod template of what is created: that is read on the same way.
//! Whatever is written differently is left to serde, which also tells what is wrong.

use super::request::{Raw, Request};
use crate::json::check::Walk;
use crate::json::unreadable::has_too_many_objects;
use crate::json::{self, Kept, Readable, Source};
use crate::kubernetes::PodTemplate;
use crate::kubernetes::kind::SPEC_TEMPLATE;
use crate::kubernetes::object::classify;
use crate::kubernetes::outline::{Outline, Part};

/// How the API server begins every review.
pub(super) const START: &str = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":"#;

/// How many members of a request are told apart: the API server writes up to fifteen.
const MEMBERS: usize = 32;

/// The request of a review; `None` when it is not written as the API server writes it.
pub(super) fn request(body: &str) -> Option<Request<'_>> {
    let text = body.trim_end_matches([' ', '\t', '\n', '\r']).strip_prefix(START)?.strip_suffix('}')?;
    let mut walk = Walk::new(text);
    let mut request = Request::default();
    let mut seen = Vec::with_capacity(16);
    walk.object(|key, walk| {
        if seen.len() == MEMBERS || seen.contains(&key) {
            return None;
        }
        match &*key {
            "object" => {
                let reads = reads_template(&request) && !has_too_many_objects(text);
                (request.object, request.template) = object(walk, reads)?;
            }
            "oldObject" => request.old_object = object(walk, false)?.0,
            member => take(&mut request, member, walk.value()?)?,
        }
        seen.push(key);
        Some(())
    })?;
    (walk.is_done() && seen.iter().any(|key| key == "uid")).then_some(request)
}

/// Whether the pod template of the object will be read, whatever the object says: of an update only what has changed
/// is. (Nobody creates what is being deleted.)
fn reads_template(request: &Request<'_>) -> bool {
    &*request.operation == "CREATE"
        && classify(&request.kind, &[]).is_some_and(|found| found.template == SPEC_TEMPLATE)
}

/// What stands in a review up to the operation, of a text that may break off after it; `None` when that is not there
/// or not written as the API server writes it.
pub(super) fn head(body: &str) -> Option<Request<'_>> {
    let text = body.strip_prefix(START)?;
    let mut walk = Walk::new(text);
    let (mut request, mut whole) = (Request::default(), false);
    walk.object(|key, walk| {
        take(&mut request, &key, walk.value()?)?;
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

/// Steps over the object of a review and notes what lies around its pod template; nothing for `null`. If asked for,
/// the template is read on the way.
fn object<'a>(
    walk: &mut Walk<'a>,
    read: bool,
) -> Option<(Option<Raw<'a>>, Option<Kept<'a, PodTemplate<'a>>>)> {
    let start = walk.start()?;
    let mut outline = Some(Outline::default());
    let mut template = None;
    if walk.first() != Some(b'{') {
        let text = walk.value()?;
        return Some(((text != "null").then(|| Raw::checked(text, None)), None));
    }
    walk.object(|key, walk| {
        let Some(part) = Part::under(&key) else { return walk.value().map(drop) };
        if walk.first() != Some(b'{') {
            // `null` has no members. Of whatever else the outline is made later, with an error.
            let value = walk.value()?;
            outline = outline.filter(|_| value == "null");
            return Some(());
        }
        walk.object(|inner, walk| {
            let start = walk.start()?;
            if read && part == Part::Spec && inner == "template" {
                template = read_or_step_over(walk)?;
            } else {
                walk.value()?;
            }
            if let Some(slot) = outline.as_mut().and_then(|outline| outline.slot(part, &inner)) {
                *slot = walk.since(start);
            }
            Some(())
        })
    })?;
    Some((Some(Raw::checked(walk.since(start)?, outline)), template))
}

/// What does not fit is only stepped over: it is read once more later, for the error.
fn read_or_step_over<'a, T: Readable<'a>>(walk: &mut Walk<'a>) -> Option<Option<T>> {
    let (before, mut value) = (walk.clone(), T::default());
    if value.read(walk).is_some() {
        return Some(Some(value));
    }
    *walk = before;
    walk.value().map(|_| None)
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
            format!("{good}\u{c}"),
            format!(" {good}"),
        ] {
            assert!(request(&other).is_none(), "{other}");
        }
    }

    /// A review that creates a Deployment with this template.
    fn created(template: &str) -> String {
        let kind = r#"{"group":"apps","version":"v1","kind":"Deployment"}"#;
        format!(
            r#"{START}{{"uid":"u","kind":{kind},"operation":"CREATE","object":{{"spec":{{"template":{template}}}}}}}}}"#
        )
    }

    #[test]
    fn reads_the_template_of_what_is_created() {
        let body = created(r#"{"spec":{"containers":[{"name":"a\u0062","ports":[1]}]}}"#);
        let read = request(&body).expect("a review as the API server writes it");
        let template = read.template.as_ref().expect("a template");
        assert_eq!((&*template.spec.containers[0].name, read.object.is_some()), ("ab", true));
        let container = r#"{"name":"a\u0062","ports":[1]}"#;
        assert_eq!(template.spec.containers[0].text(), container);
        assert_eq!(template.text(), format!(r#"{{"spec":{{"containers":[{container}]}}}}"#));
        let updated = body.replace("CREATE", "UPDATE");
        assert!(request(&updated).is_some_and(|read| read.template.is_none() && read.object.is_some()));
    }

    #[test]
    fn a_template_that_does_not_fit_is_left_for_later() {
        for template in ["null", "1", "[]", r#"{"spec":[1,{"a":"}"}]}"#, r#"{"spec":{"containers":[null]}}"#]
        {
            let body = created(template);
            let read = request(&body).expect("well-formed JSON");
            let object = format!(r#"{{"spec":{{"template":{template}}}}}"#);
            assert_eq!((read.template.is_none(), read.object.map(|raw| raw.get())), (true, Some(&*object)));
        }
        for template in ["", "{", "{]", r#"{"spec":{"containers":[}}"#, "{\"spec\":\"\t\"}", r#"{"a":"\x"}"#]
        {
            assert!(request(&created(template)).is_none(), "{template}");
        }
    }
}
