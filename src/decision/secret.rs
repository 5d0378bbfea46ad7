//! A Secret that says it holds a Prefect database URL, judged when it is written (opt-in, DESIGN: "Secrets").
//!
//! The label `prefect-guard.io/database-url: KEY` names the key. The URL is judged as the server that will read it
//! would judge it: by the same rules, over a Deployment made up around it. Only the Secret in the request is seen;
//! no right to read Secrets is needed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::kubernetes::annotations::Own;
use crate::kubernetes::object::{Found, locate};
use crate::kubernetes::pod::{Annotations, null_is_default};
use crate::kubernetes::{Class, annotations};
use crate::policy::Settings;
use crate::review::request::{Raw, Request, Unreadable, parse};
use crate::rule::{Finding, Level, Place, Report};
use crate::rules::{self, Subject};
use crate::text::clip;

/// The label, without the prefix that all our keys share.
pub const LABEL: &str = "database-url";

/// Rules that judge the URL itself. What stands around it (replicas, volumes, other variables) is not the Secret's.
const APPLICABLE: [&str; 7] = ["PSG102", "PSG103", "PSG104", "PSG105", "PSG106", "PSG109", "PSG113"];

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Secret<'a> {
    #[serde(borrow, deserialize_with = "null_is_default")]
    metadata: Metadata<'a>,
    #[serde(borrow, deserialize_with = "null_is_default")]
    data: Annotations<'a>,
    /// The API server has moved this into `data`; manifests offline still have it.
    #[serde(borrow, rename = "stringData", deserialize_with = "null_is_default")]
    string_data: Annotations<'a>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Metadata<'a> {
    #[serde(borrow, deserialize_with = "null_is_default")]
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
    let Some(value) = secret.value(key) else { return Ok(missing(place, key)) };
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

fn missing(place: Place, key: &str) -> Vec<Finding> {
    let Some(rule) = rules::find("missing-database-url") else { return Vec::new() };
    let mut report = Report::default();
    let what = format!("the Secret holds no text under the key `{}` that its label names", clip(key, 80));
    let help = format!("add the key, or correct the label `{}{LABEL}`", annotations::PREFIX);
    report.add(rule, place, what, help);
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
    let found = Found { class: Class::Server, template: "/spec/template" };
    let located = locate(Raw::checked(&template, None), found).expect("a template of our own making");
    let Ok(Some(workload)) = located.read("Deployment".into()) else { return Vec::new() };
    let own = Own::default();
    let subject = Subject::examine(&workload, settings, &own, None);
    let mut report = Report::default();
    for entry in rules::REGISTER.iter().filter(|entry| APPLICABLE.contains(&entry.rule.id)) {
        (entry.check)(&subject, &mut report);
    }
    let mut findings = report.into_findings();
    findings.retain(|finding| finding.at_most == Level::Deny || finding.rule.default == Level::Warn);
    findings
}
