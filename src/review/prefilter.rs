//! Settles a review that has nothing to do with Prefect without parsing the object.
//!
//! Sound because detection needs the lower-case word `prefect` in a command, an argument or an annotation of ours,
//! and JSON can hide a letter of it only behind a `\u` escape, which is looked for too. Only the exact shape that
//! the API server writes is settled here (compact, the request's head before the object); anything else takes the
//! full path, which also tells malformed JSON.

use std::sync::LazyLock;

use memchr::memmem::{self, Finder};

use super::compact::{self, START};
use super::request::Request;

/// How far into a review its head is looked for: it takes some 600 bytes.
const HEAD: usize = 2 << 10;

/// The head of a review that names Prefect nowhere, with no object; `None` when it may, or when it is not written as
/// the API server writes it.
pub fn unrelated(body: &[u8]) -> Option<Request<'_>> {
    let white = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let body = &body[..body.iter().rposition(|byte| !white(byte))? + 1];
    if !body.starts_with(START.as_bytes()) || !body.ends_with(b"}}") || names_prefect(body) {
        return None;
    }
    let mut request = compact::head(start_of(body))?;
    let tail = &body[body.len().saturating_sub(512)..];
    request.dry_run = memmem::find(tail, br#","dryRun":true"#).is_some();
    (!request.uid.is_empty() && !request.operation.is_empty()).then_some(request)
}

/// The text at the start of a body.
fn start_of(body: &[u8]) -> &str {
    let start = &body[..body.len().min(HEAD)];
    std::str::from_utf8(start).unwrap_or_else(|error| {
        // The cut may go through a character.
        std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default()
    })
}

/// Whether the word stands anywhere, plainly or behind escapes.
fn names_prefect(body: &[u8]) -> bool {
    static WORD: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("prefect"));
    static ESCAPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r"\u00"));
    // Letters escape as \u0040 to \u007f; the API server itself only writes \u0026, \u003c, \u003e and \u2028.
    let escaped =
        || ESCAPE.find_iter(body).any(|at| body.get(at + 4).is_some_and(|c| matches!(c, b'4'..=b'7')));
    WORD.find(body).is_some() || escaped()
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
        // JSON knows no form feed between values.
        assert!(unrelated(format!("{body}\n").as_bytes()).is_some());
        assert!(unrelated(format!("{body}\u{c}").as_bytes()).is_none());
    }
}
