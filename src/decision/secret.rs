//! A Secret that says it holds a Prefect database URL, judged when it is written (opt-in).
//!
//! The label `prefect-guard.io/database-url: KEY` names the key. The URL is judged as the server that will read it
//! would judge it: by the same rules, over a Deployment made up around it. Only the Secret in the request is seen;
//! no right to read Secrets is needed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::json::{self, Raw, Unreadable, object, parse};
use crate::kubernetes::Class;
use crate::kubernetes::kind::SPEC_TEMPLATE;
use crate::kubernetes::object::{Found, locate};
use crate::kubernetes::pod::Annotations;
use crate::policy::Settings;
use crate::policy::annotations::{self, Own};
use crate::review::Request;
use crate::rule::{Finding, Level, OfSecret, Place, Report};
use crate::rules::{self, CATALOGUE, Subject};
use crate::text::clip;

/// The label, without the prefix that all our keys share.
pub const LABEL: &str = "database-url";

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Secret<'a> {
    #[serde(borrow, deserialize_with = "object")]
    metadata: Metadata<'a>,
    #[serde(borrow, deserialize_with = "json::null_is_default")]
    data: Annotations<'a>,
    /// The API server has moved this into `data`; manifests offline still have it.
    #[serde(borrow, rename = "stringData", deserialize_with = "json::null_is_default")]
    string_data: Annotations<'a>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Metadata<'a> {
    #[serde(borrow, deserialize_with = "json::null_is_default")]
    labels: Annotations<'a>,
}

impl Secret<'_> {
    /// The key that the label names.
    fn key(&self) -> Option<&str> {
        self.metadata.labels.get(&format!("{}{LABEL}", annotations::PREFIX))
    }

    /// The value under a key; what is no base64 or no UTF-8 reads as absent.
    fn value(&self, key: &str) -> Option<String> {
        if let Some(text) = self.string_data.get(key) {
            return Some(text.to_owned());
        }
        String::from_utf8(STANDARD.decode(self.data.get(key)?).ok()?).ok()
    }
}

/// What is wrong with the URL in the request's Secret; nothing for a Secret without the label, or whose value stays.
///
/// # Errors
/// When the object is not shaped as a Secret.
pub fn check(request: &Request<'_>, settings: &Settings) -> Result<Vec<Finding>, Unreadable> {
    let Some(object) = request.object else { return Ok(Vec::new()) };
    let secret: Secret<'_> = parse(object.get())?;
    let Some(key) = secret.key() else { return Ok(Vec::new()) };
    let place =
        Place { pointer: format!("/data/{}", key.replace('~', "~0").replace('/', "~1")), ..Place::default() };
    let Some(value) = secret.value(key) else { return Ok(missing(&place, key)) };
    let unchanged = request.old_object.and_then(|old| parse::<Secret<'_>>(old.get()).ok());
    if unchanged.is_some_and(|old| old.value(key).as_deref() == Some(&value)) {
        return Ok(Vec::new());
    }
    let mut findings = judge(&value, settings);
    for finding in &mut findings {
        finding.place = place.clone();
        finding.what = format!("key `{}`: {}", clip(key, 80), finding.what);
    }
    Ok(findings)
}

fn missing(place: &Place, key: &str) -> Vec<Finding> {
    let mut report = Report::default();
    let what = format!("the Secret holds no text under the key `{}` that its label names", clip(key, 80));
    let help = format!("add the key, or correct the label `{}{LABEL}`", annotations::PREFIX);
    for rule in CATALOGUE.rules().filter(|rule| rule.secret == OfSecret::ReportsMissing) {
        report.add(rule, place.clone(), what.clone(), help.clone());
    }
    report.into_findings()
}

/// Judges the URL in a server that has it, on a volume that would keep a SQLite file.
fn judge(url: &str, settings: &Settings) -> Vec<Finding> {
    let literal = url.replace("$(", "$$(");
    let template = json!({"spec": {"template": {"spec": {
        "containers": [{
            "name": "server",
            "command": ["prefect", "server", "start"],
            "env": [{"name": "PREFECT_SERVER_DATABASE_CONNECTION_URL", "value": literal}],
            "volumeMounts": [{"name": "data", "mountPath": "/"}],
        }],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    }}}})
    .to_string();
    let found = Found { class: Class::Server, template: SPEC_TEMPLATE };
    let located =
        Raw::of(&template).and_then(|object| locate(object, found)).expect("a Deployment of our own making");
    let Ok(Some(workload)) = located.read("Deployment".into()) else { return Vec::new() };
    let own = Own::default();
    let subject = Subject::examine(&workload, settings, &own, None);
    let mut findings = rules::check(&subject, |rule| rule.secret == OfSecret::JudgesUrl);
    findings.retain(|finding| finding.at_most == Level::Deny || finding.rule.default == Level::Warn);
    findings
}
