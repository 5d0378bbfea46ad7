//! Two guards that manage one certificate with the rights that the chart gives them.

use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::guard::{Guard, free_port};
use crate::world::{World, until};

const KINDS: [&str; 2] = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];

fn managed(world: &World, kubeconfig: &Path) -> Guard {
    let arguments = [
        "--tls-managed".to_owned(),
        format!("--tls-secret={0}/{0}-tls", world.name),
        format!("--tls-service={0}/{0}", world.name),
        format!("--tls-webhook-config={}", world.name),
    ];
    Guard::start(free_port(), &arguments, Some(kubeconfig))
}

/// The caBundle of every webhook, in PEM; empty where there is none.
fn bundles(world: &World) -> Vec<String> {
    let of = |kind: &str| {
        let configuration = world.get(&format!("{kind}/{}", world.name));
        configuration["webhooks"].as_array().expect("webhooks").clone()
    };
    let webhooks = KINDS.iter().flat_map(|kind| of(kind));
    webhooks
        .map(|webhook| {
            let encoded = webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned();
            String::from_utf8(STANDARD.decode(encoded).expect("base64")).expect("PEM")
        })
        .collect()
}

/// A handshake as the API server makes it: this CA, and the Service's name.
fn handshake(world: &World, port: u16, bundle: &str) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(certificate.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(format!("{0}.{0}.svc", world.name)).map_err(|error| error.to_string())?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(|error| error.to_string())?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn two_guards_agree_and_no_handshake_ever_fails() {
    let world = World::bare("managed");
    world.register(&["--set", "tls.mode=managed"]);
    let account = world.account(&world.name);
    let (one, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| managed(&world, &account));
        (managed(&world, &account), other.join().expect("the other starts"))
    });
    until("every webhook has a caBundle", || {
        bundles(&world).iter().all(|bundle| bundle.contains("BEGIN CERTIFICATE"))
    });

    let (stop, made) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let ports = [one.port, other.port];
        let (world, stop, made) = (&world, &stop, &made);
        let checker = scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                for bundle in bundles(world).iter().filter(|bundle| !bundle.is_empty()) {
                    for port in ports {
                        handshake(world, port, bundle).expect("a handshake with the current caBundle");
                        made.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        wiped_bundles_come_back(world);
        a_restart_changes_nothing(world, &account);
        stop.store(true, Ordering::Relaxed);
        checker.join().expect("no handshake failed");
    });
    assert!(made.load(Ordering::Relaxed) > 20, "{made:?} handshakes");
    until("all webhooks have one caBundle", || {
        let all = bundles(&world);
        all.iter().all(|bundle| *bundle == all[0] && !bundle.is_empty())
    });
    let secret = world.get(&format!("secret/{}-tls", world.name));
    assert_eq!(secret["type"], "Opaque", "the guard keeps the chart's type");
}

fn wiped_bundles_come_back(world: &World) {
    for kind in KINDS {
        let patch = r#"[{"op":"remove","path":"/webhooks/0/clientConfig/caBundle"}]"#;
        world.kubectl(&["patch", kind, &world.name, "--type=json", "-p", patch]).done();
    }
    until("the caBundle is back", || bundles(world).iter().all(|bundle| !bundle.is_empty()));
}

/// A third guard, as in a rollout, takes what is there.
fn a_restart_changes_nothing(world: &World, account: &Path) {
    let before = world.get(&format!("secret/{}-tls", world.name))["data"].clone();
    let third = managed(world, account);
    handshake(world, third.port, &bundles(world)[0]).expect("it serves what the others trust");
    assert_eq!(world.get(&format!("secret/{}-tls", world.name))["data"], before);
}

/// What the account may not do, so that a test which runs as administrator cannot hide it.
#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn the_account_may_do_nothing_else() {
    let world = World::bare("rights");
    world.register(&["--set", "tls.mode=managed"]);
    let account = format!("--as=system:serviceaccount:{0}:{0}", world.name);
    let may = |verb: &str, what: &str| world.kubectl(&["auth", "can-i", verb, what, &account]).ok;
    let secret = format!("secret/{}-tls", world.name);
    until("the rights are in force", || may("patch", &secret));
    let own = format!("mutatingwebhookconfiguration/{}", world.name);
    assert!(may("get", &secret) && may("patch", &own));
    for (verb, what) in [
        ("update", secret.as_str()),
        ("get", "secret/other"),
        ("list", "secrets"),
        ("create", "secrets"),
        ("delete", secret.as_str()),
        ("get", "mutatingwebhookconfiguration/other"),
        ("list", "mutatingwebhookconfigurations"),
        ("delete", own.as_str()),
        ("create", "validatingwebhookconfigurations"),
        ("get", "deployments"),
        ("get", "pods"),
        ("get", "configmaps"),
    ] {
        assert!(!may(verb, what), "{verb} {what}");
    }
}
