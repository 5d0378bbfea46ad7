//! Managed certificates: any number of replicas, any clock, one CA that everybody trusts all the while.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::serving::api::{Api, MUTATING, SECRET, VALIDATING, kubeconfig};
use crate::serving::client::Client;
use crate::serving::pki::{Authority, ec_key};
use crate::serving::process::{Process, command};
use crate::serving::wait_until;
use http::Method;
use prefect_guard::cluster::certificates::{Keeper, KeeperError, Plan};
use prefect_guard::cluster::objects::ObjectError;
use prefect_guard::telemetry::log::{Format, Log};
use prefect_guard::telemetry::metrics::Metrics;
use prefect_guard::tls::Current;
use prefect_guard::tls::managed::{Circumstances, Material, Step, bundle, plan};
use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use tempfile::TempDir;

const DAY: i64 = 86_400;
const START: i64 = 1_795_443_142;
const NAME: &str = "prefect-guard.prefect-guard.svc";

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect()
}

/// Whether an API server with this `caBundle` and clock would accept this leaf.
fn verifies(bundle: &str, leaf: &str, now: i64) -> bool {
    let mut roots = RootCertStore::empty();
    for authority in certificates(bundle) {
        roots.add(authority).unwrap();
    }
    let leaf = certificates(leaf).remove(0);
    let parsed = ParsedCertificate::try_from(&leaf).unwrap();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now.unsigned_abs()));
    let algorithms = prefect_guard::tls::provider().signature_verification_algorithms;
    verify_server_name(&parsed, &NAME.try_into().unwrap()).is_ok()
        && verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], time, algorithms.all).is_ok()
}

fn circumstances(now: i64, spread: bool) -> Circumstances {
    Circumstances { names: vec![NAME.to_owned()], now, jitter: 0.0, spread }
}

/// The step, as what it writes and which of CA and leaf are new.
fn step(material: &Material, now: i64, spread: bool) -> Option<(Material, bool, bool)> {
    match plan(material, &circumstances(now, spread)).unwrap() {
        Step::Keep => None,
        Step::Write { material, authority, leaf } => Some((material, authority, leaf)),
    }
}

fn first() -> Material {
    let (material, authority, leaf) = step(&Material::default(), START, false).unwrap();
    assert!(authority && leaf);
    material
}

#[test]
fn an_empty_secret_gets_a_ca_and_a_leaf_that_verifies() {
    let material = first();
    assert!(verifies(&material.authorities, &material.certificate, START));
    // Clocks differ: it has begun an hour ago already.
    assert!(verifies(&material.authorities, &material.certificate, START - 3_000));
    assert!(verifies(&material.authorities, &material.certificate, START + 89 * DAY));
    assert!(!verifies(&material.authorities, &material.certificate, START + 91 * DAY));
    assert_eq!(step(&material, START, false), None);
    assert_eq!(format!("{material:?}"), "Material { [hidden] }");
}

#[test]
fn the_leaf_is_renewed_at_two_thirds_and_the_ca_stays() {
    let material = first();
    assert_eq!(step(&material, START + 59 * DAY, true), None);
    let (renewed, authority, leaf) = step(&material, START + 61 * DAY, true).unwrap();
    assert_eq!((authority, leaf), (false, true));
    assert_eq!(renewed.authorities, material.authorities);
    assert!(verifies(&material.authorities, &renewed.certificate, START + 140 * DAY));
    assert_ne!(renewed.key, material.key);
}

#[test]
fn an_expired_leaf_is_replaced_whatever_else_there_is() {
    let (renewed, authority, leaf) = step(&first(), START + 200 * DAY, false).unwrap();
    assert_eq!((authority, leaf), (false, true));
    assert!(verifies(&renewed.authorities, &renewed.certificate, START + 200 * DAY));
}

#[test]
fn a_clock_that_runs_backwards_changes_nothing() {
    let material = first();
    for back in [DAY, 365 * DAY, 20 * 365 * DAY] {
        assert_eq!(step(&material, START - back, true), None);
    }
}

#[test]
fn replicas_renew_one_after_the_other() {
    let material = first();
    let at = |jitter| {
        let due = |day: i64| {
            let circumstances = Circumstances { jitter, ..circumstances(START + day * DAY, true) };
            plan(&material, &circumstances).unwrap() != Step::Keep
        };
        (50..90).find(|day| due(*day)).unwrap()
    };
    assert!(at(0.0) < at(1.0) && at(1.0) < 66, "{} {}", at(0.0), at(1.0));
}

#[test]
fn a_new_ca_signs_only_when_everybody_trusts_it() {
    let mut old = first();
    let mut now = START;
    // Through six and a half years of renewals, up to two thirds of the CA's life.
    while now < START + 2_433 * DAY {
        now += 10 * DAY;
        if let Some((material, authority, _)) = step(&old, now, true) {
            old = material;
            if authority {
                break;
            }
        }
    }
    assert!((now - START) / DAY > 2_430, "{}", (now - START) / DAY);
    let all = certificates(&old.authorities);
    assert_eq!(all.len(), 2, "the old one stays trusted");
    assert!(verifies(&old.authorities, &old.certificate, now), "and the leaf was not touched");
    let new_alone = Material { authorities: String::new(), ..old.clone() };
    assert!(new_alone.certificate == old.certificate);

    // Not before every bundle holds it, and not before an hour has passed.
    assert_eq!(step(&old, now + DAY, false), None);
    assert_eq!(step(&old, now + 600, true), None);
    let (switched, authority, leaf) = step(&old, now + 3_700, true).unwrap();
    assert_eq!((authority, leaf), (false, true));
    assert!(verifies(&switched.authorities, &switched.certificate, now + 3_700));
    assert_eq!(step(&switched, now + 3_700, true), None);
    // The old CA goes when it has expired, and not before.
    let late = bundle(switched.authorities.as_bytes(), &switched, START + 3_649 * DAY, &[]);
    assert_eq!(late, None);
    let later = bundle(switched.authorities.as_bytes(), &switched, START + 3_651 * DAY, &[]).unwrap();
    assert_eq!(certificates(&later).len(), 1);
    assert!(verifies(&later, &switched.certificate, now + 3_700));
}

#[test]
fn a_broken_secret_is_mended_and_old_trust_kept() {
    let good = first();
    let other = first();
    let broken = [
        Material { key: other.key.clone(), ..good.clone() },
        Material { certificate: "nonsense".to_owned(), ..good.clone() },
        Material { certificate: other.certificate.clone(), key: other.key.clone(), ..good.clone() },
        Material { certificate: String::new(), key: String::new(), ..good.clone() },
    ];
    for material in &broken {
        let (mended, authority, leaf) = step(material, START, true).unwrap();
        assert_eq!((authority, leaf), (false, true));
        assert!(verifies(&good.authorities, &mended.certificate, START));
    }
    // Without its key a CA can sign no more: another takes over, and the leaf of the old one is served on.
    for authority_key in [String::new(), other.authority_key.clone(), "-----BEGIN".to_owned()] {
        let (mended, authority, leaf) =
            step(&Material { authority_key, ..good.clone() }, START, true).unwrap();
        assert_eq!((authority, leaf), (true, false));
        assert!(mended.authorities.contains(&good.authorities));
        assert!(verifies(&mended.authorities, &mended.certificate, START));
    }
    // Nothing of use at all.
    let nothing = Material {
        authorities: "x".into(),
        authority_key: "y".into(),
        certificate: "z".into(),
        key: "-".into(),
    };
    let (mended, authority, leaf) = step(&nothing, START, false).unwrap();
    assert!(authority && leaf && verifies(&mended.authorities, &mended.certificate, START));
}

#[test]
fn names_are_added_and_never_fought_over() {
    let material = first();
    let with = |names: &[&str], material: &Material| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        plan(material, &Circumstances { names, ..circumstances(START, true) }).unwrap()
    };
    let Step::Write { material: both, authority: false, leaf: true } =
        with(&["other.svc", "127.0.0.1"], &material)
    else {
        panic!("a name is missing")
    };
    assert!(verifies(&both.authorities, &both.certificate, START));
    // Neither of two replicas that want different names changes it any more.
    assert_eq!(with(&[NAME], &both), Step::Keep);
    assert_eq!(with(&["127.0.0.1", "other.svc"], &both), Step::Keep);
}

#[test]
fn a_bundle_gains_what_is_missing_and_loses_only_what_is_dead() {
    let (ours, theirs) = (first(), Authority::new("another"));
    let authorities = &ours.authorities;
    assert_eq!(bundle(b"", &ours, START, &[]).as_ref(), Some(authorities));
    assert_eq!(bundle(authorities.as_bytes(), &ours, START, &[]), None);
    let both = bundle(theirs.pem().as_bytes(), &ours, START, &[]).unwrap();
    assert_eq!(certificates(&both).len(), 2);
    assert_eq!(bundle(both.as_bytes(), &ours, START, &[]), None);
    // In another order or spelt otherwise it is as good.
    let turned = theirs.pem() + authorities;
    assert_eq!(bundle(turned.as_bytes(), &ours, START, &[]), None);
    assert_eq!(bundle(turned.replace('\n', "\r\n").as_bytes(), &ours, START, &[]), None);
    // Twice the same, or something that is none: the API server would take the first and refuse the second.
    assert_eq!(bundle(authorities.repeat(2).as_bytes(), &ours, START, &[]).as_ref(), Some(authorities));
    let torn = format!("{authorities}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert_eq!(bundle(torn.as_bytes(), &ours, START, &[]).as_ref(), Some(authorities));
    let key = ec_key();
    // Dead by the real clock, as this one is made by it.
    let dead = Authority::new("x").server(&key, -9, -1);
    let kept = bundle(format!("{authorities}{dead}").as_bytes(), &ours, now(), &[]);
    assert_eq!(kept.as_ref(), Some(authorities));
}

/// One replica against the fake.
struct Replica {
    keeper: Keeper,
    current: Arc<Current>,
    metrics: Arc<Metrics>,
}

fn replica(api: &Api) -> Replica {
    let log = Log::new(Format::Json, tracing::Level::ERROR, std::io::sink()).unwrap();
    let (metrics, current) = (Metrics::new(&log), Arc::new(Current::default()));
    let plan = Plan {
        secret: ("prefect-guard".to_owned(), "prefect-guard-tls".to_owned()),
        configurations: vec!["prefect-guard".to_owned()],
        names: vec![NAME.to_owned()],
        interval: Duration::from_secs(15),
    };
    let keeper = Keeper::new(api.client(), plan, Arc::clone(&current), Arc::clone(&metrics));
    Replica { keeper, current, metrics }
}

/// Every bundle verifies the leaf that everybody serves.
fn all_is_well(api: &Api, now: i64) {
    for bundle in api.bundles() {
        assert!(verifies(&bundle, &api.secret("tls.crt"), now));
    }
}

#[tokio::test]
async fn five_replicas_at_once_end_with_one_ca() {
    for _ in 0..10 {
        let api = Api::new(START);
        let mut replicas: Vec<_> = (0..5).map(|_| replica(&api)).collect();
        let looks = replicas.iter_mut().map(|replica| replica.keeper.look());
        for outcome in futures::future::join_all(looks).await {
            outcome.unwrap();
        }
        assert_eq!(certificates(&api.secret("ca.crt")).len(), 1);
        assert!(api.bundles().iter().all(|bundle| *bundle == api.secret("ca.crt")));
        all_is_well(&api, START);
        let ends: Vec<_> = replicas.iter().map(|replica| replica.current.get().unwrap().not_after).collect();
        assert!(ends.iter().all(|end| *end == ends[0]));
        let created: f64 = replicas
            .iter()
            .map(|replica| {
                crate::serving::metric(
                    &replica.metrics.render(),
                    "prefect_guard_certificate_renewals_total{what=\"authority\"}",
                )
            })
            .sum();
        assert_eq!(created, 1.0, "one won, the others read what it wrote");
        assert!(api.conflicts() > 0, "they did meet");
        // What others wrote into these objects is still there.
        assert_eq!(api.get(SECRET)["metadata"]["labels"]["a"], "b");
        assert_eq!(api.get(VALIDATING)["webhooks"][1]["clientConfig"]["service"]["name"], "prefect-guard");
        // And now there is peace.
        api.requests(&Method::PATCH);
        for replica in &mut replicas {
            replica.keeper.look().await.unwrap();
        }
        assert_eq!(api.requests(&Method::PATCH), 0);
    }
}

#[tokio::test]
async fn through_eleven_years_no_verification_ever_fails() {
    let api = Api::new(START);
    let (mut first, mut second) = (replica(&api), replica(&api));
    let (mut seen, mut slept) = (std::collections::BTreeSet::new(), String::new());
    for day in (0..11 * 365).step_by(10) {
        // The one is out of touch for twenty days out of forty.
        let now = START + day * DAY;
        api.set_now(now);
        if day / 20 % 2 == 0 {
            first.keeper.look().await.unwrap();
            slept = api.secret("tls.crt");
        }
        second.keeper.look().await.unwrap();
        all_is_well(&api, now);
        // Who was out of touch serves what it has, and it is trusted as long as it lives.
        assert!(api.bundles().iter().all(|bundle| verifies(bundle, &slept, now)), "on day {day}");
        seen.insert(api.secret("tls.crt"));
    }
    assert!((50..70).contains(&seen.len()), "{} leaves", seen.len());
    assert_eq!(certificates(&api.bundles()[0]).len(), 1, "the first CA has expired and is gone");
}

#[tokio::test]
async fn a_wiped_bundle_is_restored_and_a_foreign_ca_kept() {
    let api = Api::new(START);
    let mut one = replica(&api);
    one.keeper.look().await.unwrap();
    api.set_bundle(MUTATING, 0, None);
    api.set_bundle(VALIDATING, 1, Some("garbage"));
    one.keeper.look().await.unwrap();
    all_is_well(&api, START);
    let foreign = Authority::new("foreign").pem();
    api.set_bundle(VALIDATING, 0, Some(&foreign));
    one.keeper.look().await.unwrap();
    all_is_well(&api, START);
    assert!(api.bundles()[1].contains(foreign.lines().nth(1).unwrap()));
    assert_eq!(crate::serving::metric(&one.metrics.render(), "prefect_guard_ca_bundle_repairs_total"), 5.0);
}

#[tokio::test(start_paused = true)]
async fn without_its_secret_a_replica_keeps_what_it_serves_trusted() {
    let api = Api::new(START);
    let mut one = replica(&api);
    one.keeper.look().await.unwrap();
    let (authorities, secret) = (api.secret("ca.crt"), api.get(SECRET));
    let foreign = Authority::new("foreign").pem();
    api.remove(SECRET);
    api.set_bundle(MUTATING, 0, None);
    api.set_bundle(VALIDATING, 0, Some(&foreign));
    for _ in 0..3 {
        let error = one.keeper.look().await.unwrap_err().to_string();
        assert!(error.contains("Secret `prefect-guard/prefect-guard-tls` is not there"), "{error}");
        // Longer than a CA that nobody knows is kept beside one that is known.
        tokio::time::advance(Duration::from_secs(3_000)).await;
    }
    let bundles = api.bundles();
    assert!(bundles.iter().all(|bundle| bundle.contains(authorities.trim())), "{bundles:?}");
    assert!(bundles[1].contains(foreign.trim()), "nobody can tell whose it is");
    assert!(one.current.get().is_some());
    // A replica that never read the Secret has nothing to keep right.
    let mut fresh = replica(&api);
    api.set_bundle(MUTATING, 0, None);
    fresh.keeper.look().await.unwrap_err();
    assert_eq!(api.bundles()[0], "");
    api.put(SECRET, secret);
    one.keeper.look().await.unwrap();
    all_is_well(&api, START);
}

#[tokio::test(start_paused = true)]
async fn an_hour_without_the_api_server_is_survived_without_a_hot_loop() {
    let api = Api::new(START);
    let Replica { keeper, current, metrics } = replica(&api);
    let running = tokio::spawn(keeper.run(|| {}));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let end = current.get().unwrap().not_after;
    api.requests(&Method::GET);
    api.set_away(true);
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(current.get().unwrap().not_after, end, "what it has is served on");
    assert!(api.requests(&Method::GET) < 3_600 / 15 * 5 * 2, "it asks at its own pace");
    assert!(crate::serving::metric(&metrics.render(), "prefect_guard_kubernetes_errors_total") > 100.0);
    api.set_away(false);
    api.set_bundle(MUTATING, 0, None);
    tokio::time::sleep(Duration::from_secs(30)).await;
    all_is_well(&api, START);
    assert!(!running.is_finished());
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_ca_that_was_thrown_away_is_trusted_for_another_hour() {
    let api = Api::new(START);
    let mut replicas = [replica(&api), replica(&api)];
    for one in &mut replicas {
        one.keeper.look().await.unwrap();
    }
    let leaked = api.secret("ca.crt");
    // Somebody empties the Secret because its key is known.
    let mut secret = api.get(SECRET);
    secret["data"] = serde_json::Value::Null;
    api.put(SECRET, secret);
    let before: Vec<_> = replicas.iter().map(|one| one.current.get().unwrap()).collect();
    replicas[0].keeper.look().await.unwrap();
    // The new CA is in every bundle before anybody serves a leaf of it.
    assert!(Arc::ptr_eq(&before[0], &replicas[0].current.get().unwrap()));
    all_is_well(&api, START);
    assert!(api.bundles().iter().all(|bundle| bundle.contains(leaked.trim())));
    for _ in 0..70 {
        tokio::time::advance(Duration::from_secs(60)).await;
        for one in &mut replicas {
            one.keeper.look().await.unwrap();
        }
        all_is_well(&api, START);
    }
    assert!(!Arc::ptr_eq(&before[0], &replicas[0].current.get().unwrap()));
    assert!(!Arc::ptr_eq(&before[1], &replicas[1].current.get().unwrap()));
    assert!(
        api.bundles().iter().all(|bundle| *bundle == api.secret("ca.crt") && !bundle.contains(leaked.trim()))
    );
}

#[tokio::test]
async fn what_is_missing_or_forbidden_is_named() {
    let api = Api::new(START);
    let mut one = replica(&api);
    api.set_forbidden(true);
    let error = one.keeper.look().await.unwrap_err();
    assert!(matches!(error, KeeperError::Object(ObjectError::Forbidden { verb: "get", .. })), "{error}");
    api.set_forbidden(false);
    let secret = api.get(SECRET);
    api.remove(SECRET);
    let error = one.keeper.look().await.unwrap_err().to_string();
    assert!(error.contains("Secret `prefect-guard/prefect-guard-tls` is not there"), "{error}");
    api.put(SECRET, secret);
    api.remove(MUTATING);
    one.keeper.look().await.unwrap();
    api.remove(VALIDATING);
    let error = one.keeper.look().await.unwrap_err().to_string();
    assert!(error.contains("webhook configuration `prefect-guard` is not there"), "{error}");
    assert!(one.current.get().is_some(), "served all the same");
}

fn guard(folder: &Path) -> Process {
    let mut command = command();
    command.env("KUBECONFIG", folder.join("config"));
    command.args([
        "--tls-managed",
        "--tls-secret",
        "prefect-guard/prefect-guard-tls",
        "--tls-interval",
        "100ms",
    ]);
    command.args(["--tls-service", "prefect-guard/prefect-guard", "--tls-webhook-config", "prefect-guard"]);
    command.args(["--tls-name", "localhost", "--drain", "0"]);
    Process::spawn(command, TempDir::new().unwrap(), String::new())
}

fn now() -> i64 {
    i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs())
        .unwrap()
}

#[test]
fn two_guards_on_one_cluster_serve_one_certificate() {
    let api = Api::new(now());
    let folder = kubeconfig(api.router());
    let guards = [guard(folder.path()), guard(folder.path())];
    for guard in &guards {
        wait_until("the guard is ready", || guard.has("ready"));
        assert_eq!(guard.admin("/readyz").0, 200);
    }
    wait_until("every bundle is there", || {
        api.bundles().iter().all(|bundle| *bundle == api.secret("ca.crt"))
    });
    let bundle = api.bundles().remove(0);
    let leaves: Vec<_> = guards
        .iter()
        .map(|guard| {
            let client = Client::new(guard.address("admission"), &bundle);
            assert_eq!(client.post("/mutate", crate::serving::REVIEW).status, 200);
            client.connect().conn.peer_certificates().map(|chain| chain[0].clone().into_owned())
        })
        .collect();
    assert_eq!(leaves[0], leaves[1]);
    assert!(guards[0].metric("prefect_guard_certificate_not_after_timestamp_seconds") > now() as f64);
    // Ninety days later both have the next one, and who trusts the bundle never noticed.
    api.set_now(now() + 64 * DAY);
    let renewed = || {
        guards.iter().all(|guard| {
            guard.metric("prefect_guard_certificate_not_after_timestamp_seconds") > (now() + 140 * DAY) as f64
        })
    };
    wait_until("both serve the next leaf", || {
        for guard in &guards {
            // By our own clock it is valid as well: it begins an hour before the API server's.
            let leaf = api.secret("tls.crt");
            assert!(verifies(&api.bundles()[0], &leaf, now() + 64 * DAY));
            assert!(guard.has("ready"));
        }
        renewed()
    });
    api.set_bundle(MUTATING, 0, None);
    wait_until("the bundle is back", || api.bundles()[0] == api.secret("ca.crt"));
    let said = format!("{:?}{:?}", guards[0].lines.lock().unwrap(), guards[1].lines.lock().unwrap());
    assert!(said.contains("wrote new certificates") && !said.contains("PRIVATE KEY"));
}

#[test]
fn a_guard_waits_for_an_api_server_that_is_away() {
    let api = Api::new(now());
    api.set_away(true);
    let folder = kubeconfig(api.router());
    let guard = guard(folder.path());
    wait_until("the problem is named", || guard.has("cannot keep the certificate and `caBundle` right"));
    assert_eq!((guard.admin("/livez").0, guard.admin("/readyz").0), (200, 503));
    assert!(!guard.has("ready"));
    api.set_away(false);
    wait_until("the guard is ready", || guard.admin("/readyz").0 == 200);
}

#[test]
fn without_a_cluster_it_does_not_start() {
    let output = command()
        .env("HOME", "/nonexistent")
        .args(["--tls-managed", "--tls-secret", "a/b", "--tls-service", "a/b"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("--tls-managed") && text.contains("KUBECONFIG"), "{text}");
    let output =
        command().args(["--tls-managed", "--tls-secret", "a", "--tls-service", "A/b c"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
