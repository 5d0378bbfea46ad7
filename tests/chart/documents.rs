//! What stands in `docs/` and `certs/` is true of the chart.

use std::process::Command;

use serde_json::Value;

use crate::helm::{only, render};
use crate::read;

const PAGES: &[&str] = &[
    "docs/install.md",
    "docs/emergency.md",
    "docs/uninstall.md",
    "docs/certificates.md",
    "docs/alerts.md",
    "certs/README.md",
];

/// The property of the schema that a dotted value names, if there is one.
fn property<'s>(schema: &'s Value, path: &str) -> Option<&'s Value> {
    path.split('.').try_fold(schema, |at, step| {
        at["properties"].get(step).or_else(|| at.get("additionalProperties").filter(|more| more.is_object()))
    })
}

#[test]
fn every_value_in_the_pages_exists() {
    let schema: Value = serde_json::from_str(&read("charts/prefect-guard/values.schema.json")).expect("JSON");
    let mut seen = 0;
    for page in PAGES {
        let text = read(page);
        for flag in ["--set ", "--set-file "] {
            for after in text.split(flag).skip(1) {
                let (name, _) = after.split_once('=').expect("a value is set to something");
                assert!(property(&schema, name).is_some(), "{page}: `{name}`");
                seen += 1;
            }
        }
    }
    assert!(seen > 15, "{seen} values");
}

#[test]
fn every_link_between_the_pages_leads_somewhere() {
    for page in PAGES {
        let text = read(page);
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().expect("a link")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if file.starts_with("https://") {
                continue;
            }
            let folder = page.rsplit_once('/').expect("a folder").0;
            let target = if file.is_empty() { (*page).to_owned() } else { format!("{folder}/{file}") };
            let target = target.replace("docs/../", "").replace("certs/../", "");
            let path = crate::repository(&target);
            assert!(path.exists(), "{page}: {link}");
            if !anchor.is_empty() {
                let anchors: Vec<String> =
                    read(&target).lines().filter(|line| line.starts_with('#')).map(self::anchor).collect();
                assert!(anchors.iter().any(|known| known == anchor), "{page}: {link}, of {anchors:?}");
            }
        }
    }
}

/// GitHub's anchor of a heading: lower case, blanks to dashes, everything else but letters and digits dropped.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// The way out works for the release that the pages install, and the chart says it after every install.
#[test]
fn the_emergency_exit_names_what_the_chart_renders() {
    let command = "kubectl delete validatingwebhookconfiguration,mutatingwebhookconfiguration prefect-guard";
    for page in ["docs/emergency.md", "charts/prefect-guard/templates/NOTES.txt"] {
        assert!(read(page).replace("{{ $fullname }}", "prefect-guard").contains(command), "{page}");
    }
    let objects = render(&[]);
    for kind in ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"] {
        assert_eq!(only(&objects, kind)["metadata"]["name"], "prefect-guard");
    }
}

/// `certs/cert-manager.yaml` is what the chart renders, less the labels.
#[test]
fn manifests_without_helm_are_those_of_the_chart() {
    let by_hand: Vec<Value> = serde_saphyr::from_multiple(&read("certs/cert-manager.yaml")).expect("YAML");
    let rendered = render(&["--set", "tls.mode=cert-manager", "--namespace", "guard"]);
    for object in &by_hand {
        let twin = rendered
            .iter()
            .find(|other| {
                other["kind"] == object["kind"] && other["metadata"]["name"] == object["metadata"]["name"]
            })
            .unwrap_or_else(|| panic!("the chart renders no {}", object["metadata"]["name"]));
        assert_eq!(object["spec"], twin["spec"]);
        assert_eq!(object["metadata"]["namespace"], twin["metadata"]["namespace"]);
    }
    let ours = rendered.iter().filter(|object| object["apiVersion"] == "cert-manager.io/v1").count();
    assert_eq!(by_hand.len(), ours);
}

/// The commands of `certs/README.md`, run as they stand but for the server at the end.
#[test]
fn the_commands_for_development_make_a_certificate_that_verifies() {
    let text = read("certs/README.md");
    let block =
        text.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of commands");
    let commands: String = block
        .lines()
        .filter(|line| !line.starts_with("prefect-guard "))
        .map(|line| format!("{line}\n"))
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let certs = folder.path().join("certs");
    std::fs::create_dir(&certs).expect("a folder");
    std::fs::copy(crate::repository("certs/openssl.cnf"), certs.join("openssl.cnf")).expect("a copy");
    let output = Command::new("bash")
        .args(["-euc", &commands])
        .current_dir(folder.path())
        .output()
        .expect("bash runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("tls.crt: OK"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names = Command::new("openssl")
        .args(["x509", "-noout", "-ext", "subjectAltName", "-in"])
        .arg(certs.join("tls.crt"))
        .output()
        .expect("openssl runs");
    assert!(String::from_utf8_lossy(&names.stdout).contains("DNS:prefect-guard.guard.svc"));
}

#[test]
fn the_example_of_the_install_page_is_refused() {
    use prefect_guard::admission::answer;
    use prefect_guard::decision::Door;
    use prefect_guard::policy::Policy;
    let page = read("docs/install.md");
    let manifest =
        page.split("<<'YAML'\n").nth(1).and_then(|rest| rest.split("\nYAML").next()).expect("a manifest");
    let object: Value = serde_saphyr::from_str(manifest).expect("YAML");
    let review = serde_json::json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
        "uid": "1", "kind": {"group": "apps", "version": "v1", "kind": "Deployment"}, "name": "prefect-server",
        "namespace": "default", "operation": "CREATE", "object": object, "oldObject": null, "dryRun": true}});
    let answer = answer(Door::Validate, review.to_string().as_bytes(), &Policy::default());
    let text = String::from_utf8(answer.body).expect("UTF-8");
    assert!(text.contains("\"allowed\":false") && text.contains("PSG103"), "{text}");
    assert!(crate::filter::reaches_us(&object), "and it reaches the guard");
}
