//! Single objects of the API server, read and patched by name. There is nothing here that needs `list` or `watch`.

use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use http_body_util::BodyExt;
use kube::api::{GetParams, Patch, PatchParams};
use kube::client::Body;
use kube::core::Request;
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::tls::identity::seconds;

/// For one request. An API server that takes longer is asked again at the next look.
const PATIENCE: Duration = Duration::from_secs(10);

/// The name under which our fields are recorded in `managedFields`.
const MANAGER: &str = "prefect-guard";

/// Why an object could not be read or written.
#[derive(Debug, Error)]
pub enum ObjectError {
    /// No answer.
    #[error("cannot reach the API server to {verb} {object}")]
    Unreachable {
        /// `get` or `patch`.
        verb: &'static str,
        /// What and which.
        object: String,
        /// What the client said.
        #[source]
        source: kube::Error,
    },
    /// No answer in time.
    #[error("the API server did not answer within 10 s ({verb} {object})")]
    Slow {
        /// `get` or `patch`.
        verb: &'static str,
        /// What and which.
        object: String,
    },
    /// The object is not there.
    #[error("{object} is not there; the chart renders it, and nothing here may create it")]
    Missing {
        /// What and which.
        object: String,
    },
    /// RBAC.
    #[error("not allowed to {verb} {object}; grant `get` and `patch` on it by name")]
    Forbidden {
        /// `get` or `patch`.
        verb: &'static str,
        /// What and which.
        object: String,
    },
    /// Any other answer.
    #[error("the API server answered {status} ({verb} {object})")]
    Refused {
        /// HTTP status.
        status: u16,
        /// `get` or `patch`.
        verb: &'static str,
        /// What and which.
        object: String,
    },
    /// An answer that cannot be read.
    #[error("the API server's answer cannot be read ({object})")]
    Unreadable {
        /// What and which.
        object: String,
    },
    /// Others kept being faster.
    #[error("{object} changed under every one of our tries")]
    Contended {
        /// What and which.
        object: String,
    },
}

/// An object of a known kind that we may touch.
pub(super) struct Target<K> {
    request: Request,
    name: String,
    pub(super) object: String,
    kind: PhantomData<fn() -> K>,
}

impl<K: Resource<DynamicType = ()>> Target<K> {
    /// The object by its names; `object` is what messages call it.
    pub(super) fn new(namespace: Option<&str>, name: &str, object: String) -> Self {
        let request = Request::new(K::url_path(&(), namespace));
        Target { request, name: name.to_owned(), object, kind: PhantomData }
    }
}

/// What became of a write.
pub(super) enum Written {
    Done,
    Conflict,
}

/// Reads and patches, by the typed requests of kube. Not by its `Api`, which keeps the head of an answer to itself:
/// the time that counts here is the API server's, from the `Date` of its answers.
pub(super) struct Objects(pub(super) Client);

impl Objects {
    /// Reads an object and the API server's time; none where it is not there.
    pub(super) async fn get<K: DeserializeOwned>(
        &self,
        target: &Target<K>,
    ) -> Result<Option<(K, i64)>, ObjectError> {
        let request = target.request.get(&target.name, &GetParams::default());
        let (status, now, body) = self.send(&target.object, "get", request).await?;
        match status {
            404 => Ok(None),
            // The parser's own message could quote the Secret.
            _ => serde_json::from_slice(&body)
                .map(|object| Some((object, now)))
                .map_err(|_| ObjectError::Unreadable { object: target.object.clone() }),
        }
    }

    pub(super) async fn patch<K, T: Serialize>(
        &self,
        target: &Target<K>,
        patch: &Patch<T>,
    ) -> Result<Written, ObjectError> {
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let request = target.request.patch(&target.name, &parameters, patch);
        let (status, _, _) = self.send(&target.object, "patch", request).await?;
        match status {
            // 404: taken away between two requests. 422: a `test` that does not hold any more.
            404 | 409 | 422 => Ok(Written::Conflict),
            _ => Ok(Written::Done),
        }
    }

    /// Sends one request: status (2xx, 404, 409 or 422), the API server's time, body.
    async fn send(
        &self,
        object: &str,
        verb: &'static str,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<(u16, i64, Vec<u8>), ObjectError> {
        let object = || object.to_owned();
        let request = request.expect("our names and parameters make a request").map(Body::from);
        let exchange = async {
            let response = self.0.send(request).await?;
            let (head, body) = response.into_parts();
            Ok::<_, kube::Error>((head, body.collect().await?.to_bytes()))
        };
        let (head, body) = tokio::time::timeout(PATIENCE, exchange)
            .await
            .map_err(|_| ObjectError::Slow { verb, object: object() })?
            .map_err(|source| ObjectError::Unreachable { verb, object: object(), source })?;
        let date = head.headers.get(http::header::DATE).and_then(|date| date.to_str().ok());
        let now = date.and_then(http_date).unwrap_or_else(|| seconds(SystemTime::now()));
        match head.status.as_u16() {
            status @ (200..=299 | 404 | 409 | 422) => Ok((status, now, body.to_vec())),
            401 | 403 => Err(ObjectError::Forbidden { verb, object: object() }),
            status => Err(ObjectError::Refused { status, verb, object: object() }),
        }
    }
}

/// Reads `Mon, 23 Nov 2026 14:04:35 GMT` (RFC 9110), as seconds since 1970.
fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_whitespace().skip(1);
    let day = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let year = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u8>().ok());
    let time = time::Time::from_hms(clock.next()??, clock.next()??, clock.next()??).ok()?;
    let month = time::Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = time::Date::from_calendar_date(year, month, day).ok()?;
    Some(date.with_time(time).assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::http_date;

    #[test]
    fn dates_of_answers_are_read() {
        assert_eq!(http_date("Mon, 23 Nov 2026 14:12:22 GMT"), Some(1_795_443_142));
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        for text in ["", "Mon, 23 Nov", "Mon, 32 Nov 2026 14:12:22 GMT", "Mon, 23 Nov 2026 25:12:22 GMT"] {
            assert_eq!(http_date(text), None, "{text}");
        }
    }
}
