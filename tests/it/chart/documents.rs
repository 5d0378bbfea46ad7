//! What stands in `docs/` and `certs/` is true of the chart.

use std::process::Command;

use serde_json::Value;

use crate::chart::helm::{only, render};
use crate::chart::read;

const PAGES: &[&str] = &[
    "docs/getting-started.md",
    "docs/rollout.md",
    "docs/upgrade.md",
    "docs/policies.md",
    "docs/install.md",
    "docs/emergency.md",
    "docs/uninstall.md",
    "docs/certificates.md",
    "docs/alerts.md",
    "certs/README.md",
];

/// The property of the schema that a dotted value names, if there is one.
fn property<'s>(schema: &'s Value, path: &str) -> Option<&'s Value> {
    let path = path.replace("\\.", "\0");
    path.split('.').try_fold(schema, |at, step| {
        let own = at.get("properties").and_then(|properties| properties.get(step.replace('\0', ".")));
        own.or_else(|| at.get("additionalProperties").filter(|more| more.is_object()))
    })
}

#[test]
fn every_value_in_the_pages_exists() {
    let schema: Value = serde_json::from_str(&read("charts/prefect-guard/values.schema.json")).expect("JSON");
    let mut seen = 0;
    for page in PAGES {
        let text = read(page);
        for flag in ["--set ", "--set-file ", "--set-string "] {
            for after in text.split(flag).skip(1) {
                let (name, _) = after.split_once('=').expect("a value is set to something");
                let name = name.trim_start_matches('\'');
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
            let path = crate::chart::repository(&target);
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

/// The way out works for a release of any name, and the chart names its own after every install.
#[test]
fn the_emergency_exit_finds_what_the_chart_renders() {
    let delete = "kubectl delete validatingwebhookconfiguration,mutatingwebhookconfiguration";
    for page in ["README.md", "docs/emergency.md", "docs/uninstall.md"] {
        let command = format!("{delete} -l app.kubernetes.io/name=prefect-guard\n");
        assert!(read(page).contains(&command), "{page}");
    }
    assert!(
        read("charts/prefect-guard/templates/NOTES.txt").contains(&format!("{delete} {{{{ $fullname }}}}\n"))
    );
    for other in ["prefect-guard", "fullnameOverride=other"] {
        let objects = if other.contains('=') { render(&["--set", other]) } else { render(&[]) };
        for kind in ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"] {
            let object = only(&objects, kind);
            assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/name"], "prefect-guard", "{other}");
        }
    }
}

/// The two ways to stop denials reach namespaces that an override enforces.
#[test]
fn the_ways_to_stop_denying_do() {
    let page = read("docs/emergency.md");
    let without = "--set policy.mode=warn --set policy.namespaces=null";
    assert!(page.contains(without));
    let enforced = ["--set", "policy.namespaces.prod.mode=enforce", "--set", "policy.mode=warn"];
    let policy = |objects: &[Value]| -> (String, String) {
        let hooks = only(objects, "ValidatingWebhookConfiguration");
        let file = only(objects, "ConfigMap")["data"]["policy.yaml"].as_str().expect("a file").to_owned();
        (hooks["webhooks"][0]["failurePolicy"].as_str().expect("a text").to_owned(), file)
    };
    let (before, file) = policy(&render(&enforced));
    assert!(before == "Fail" && file.contains("prod"));
    let (after, file) = policy(&render(&[&enforced[..], &["--set", "policy.namespaces=null"]].concat()));
    assert!(after == "Ignore" && !file.contains("prod"), "{file}");
    // By kubectl: the webhook that fails closed is the first, and the policy is one.
    let objects = render(&[]);
    assert_eq!(
        only(&objects, "ValidatingWebhookConfiguration")["webhooks"][0]["name"],
        "validate.prefect-guard.io"
    );
    assert_eq!(only(&objects, "ConfigMap")["metadata"]["name"], "prefect-guard-policy");
    let patch = page
        .split("--type=merge \\\n  -p '")
        .nth(1)
        .and_then(|rest| rest.split('\'').next())
        .expect("a patch");
    let patch: Value = serde_json::from_str(patch).expect("JSON");
    let file = patch["data"]["policy.yaml"].as_str().expect("a file");
    prefect_guard::policy::Policy::from_yaml(file, prefect_guard::rules::CATALOGUE).expect("a policy");
}

/// A command that is copied from one page works with what another page installed.
#[test]
fn every_page_means_the_same_release_in_the_same_namespace() {
    let mut pages: Vec<String> = std::fs::read_dir(crate::chart::repository("docs"))
        .expect("the pages")
        .map(|entry| format!("docs/{}", entry.expect("a page").file_name().to_string_lossy()))
        .filter(|name| name.ends_with(".md"))
        .collect();
    pages.extend(
        ["README.md", "certs/README.md", "certs/cert-manager.yaml", "certs/openssl.cnf"].map(str::to_owned),
    );
    // Those of the reader's own servers.
    let others = ["data", "NAME", "argocd", "flux-system", "<NAME>"];
    for page in pages {
        let text = read(&page).replace("\\\n", " ");
        for line in text.lines() {
            let words: Vec<&str> = line.split([' ', '`', ',', '"', '(', ')', '[', ']']).collect();
            for pair in words.windows(2).filter(|pair| matches!(pair[0], "-n" | "--namespace")) {
                let namespace = pair[1].trim_end_matches(['.', ';']);
                assert!(
                    namespace == "prefect-guard"
                        || others.contains(&namespace)
                        || !namespace.starts_with(char::is_alphabetic),
                    "{page}: namespace `{namespace}` in: {line}"
                );
            }
            let acts = ["install ", "upgrade ", "uninstall ", "rollback ", "history "];
            if line.trim_start().starts_with("helm ")
                && acts.iter().any(|act| line.contains(act))
                && line.contains(" prefect-guard ")
            {
                assert!(line.contains("--namespace prefect-guard"), "{page}: no namespace in: {line}");
                assert!(!line.contains("--reuse-values"), "{page}: keeps the old chart's defaults: {line}");
            }
            for word in
                words.iter().filter(|word| word.starts_with("prefect-guard.") && word.ends_with(".svc"))
            {
                assert_eq!(*word, "prefect-guard.prefect-guard.svc", "{page}");
            }
        }
    }
}

/// The bank of `policies.md`: its values render the file that stands above them.
#[test]
fn a_policy_as_values_is_the_same_policy() {
    let page = read("docs/policies.md");
    let blocks: Vec<&str> =
        page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let values = blocks.last().expect("a block");
    let file = blocks.iter().rev().nth(1).expect("the file it stands for");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("values.yaml");
    std::fs::write(&path, values).expect("a file");
    let objects = render(&["-f", path.to_str().expect("UTF-8")]);
    let rendered = only(&objects, "ConfigMap")["data"]["policy.yaml"].as_str().expect("a file").to_owned();
    let read = |text: &str| -> Value { serde_saphyr::from_str(text).expect("YAML") };
    assert_eq!(read(&rendered), read(file));
}

/// On AKS: the value has to be a string, and the command makes one.
#[test]
fn the_annotation_for_aks_can_be_set() {
    let value = r"webhook.annotations.admissions\.enforcer/disabled=true";
    assert!(read("docs/install.md").contains(&format!("--set-string '{value}'")));
    let objects = render(&["--set-string", value]);
    for kind in ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"] {
        assert_eq!(only(&objects, kind)["metadata"]["annotations"]["admissions.enforcer/disabled"], "true");
    }
}

/// `certs/cert-manager.yaml` is what the chart renders, less the labels.
#[test]
fn manifests_without_helm_are_those_of_the_chart() {
    let by_hand: Vec<Value> = serde_saphyr::from_multiple(&read("certs/cert-manager.yaml")).expect("YAML");
    let rendered = render(&["--set", "tls.mode=cert-manager", "--namespace", "prefect-guard"]);
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
    std::fs::copy(crate::chart::repository("certs/openssl.cnf"), certs.join("openssl.cnf")).expect("a copy");
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
    assert!(String::from_utf8_lossy(&names.stdout).contains("DNS:prefect-guard.prefect-guard.svc"));
}

#[test]
fn the_example_of_the_install_page_is_refused() {
    use prefect_guard::answer::answer;
    use prefect_guard::decision::Endpoint;
    use prefect_guard::policy::Policy;
    let page = read("docs/install.md");
    let manifest =
        page.split("<<'YAML'\n").nth(1).and_then(|rest| rest.split("\nYAML").next()).expect("a manifest");
    let object: Value = serde_saphyr::from_str(manifest).expect("YAML");
    let review = serde_json::json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
        "uid": "1", "kind": {"group": "apps", "version": "v1", "kind": "Deployment"}, "name": "prefect-server",
        "namespace": "default", "operation": "CREATE", "object": object, "oldObject": null, "dryRun": true}});
    let answer = answer(Endpoint::Validate, review.to_string().as_bytes(), &Policy::default());
    let text = String::from_utf8(answer.body).expect("UTF-8");
    assert!(text.contains("\"allowed\":false") && text.contains("PSG103"), "{text}");
    assert!(crate::chart::filter::reaches_us(&object), "and it reaches the guard");
}
