//! TLS over real sockets: kinds of keys, protocols, resumption, reloads, client certificates.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use crate::serving::client::{self, Client, roots};
use crate::serving::pki::{Authority, ec_key};
use crate::serving::process::{Process, fails};
use crate::serving::{REVIEW, wait_until};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

const FAST: [&str; 2] = ["--reload-interval", "50ms"];
const FILES: [&str; 4] = ["--tls-cert", "tls.crt", "--tls-key", "tls.key"];

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// What a PKCS#8 key wraps: PKCS#1 for RSA, SEC1 for elliptic curves (RFC 5958, RFC 8017, RFC 5915).
fn unwrapped(pkcs8: &[u8]) -> &[u8] {
    fn element(der: &[u8]) -> (&[u8], &[u8]) {
        let (length, start) = match der[1] {
            short if short < 0x80 => (usize::from(short), 2),
            long => {
                let count = usize::from(long & 0x7f);
                (der[2..2 + count].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), 2 + count)
            }
        };
        (&der[start..start + length], &der[start + length..])
    }
    let (sequence, _) = element(pkcs8);
    let (_version, rest) = element(sequence);
    let (_algorithm, rest) = element(rest);
    element(rest).0
}

fn write_pair(folder: &Path, certificate: &str, key: &str) {
    std::fs::write(folder.join("tls.crt"), certificate).unwrap();
    std::fs::write(folder.join("tls.key"), key).unwrap();
}

/// The leaf that a new client is shown; one that has been here before would resume and see none.
fn leaf(process: &Process, ca: &str) -> CertificateDer<'static> {
    let client = Client::new(process.address("admission"), ca);
    client.connect().conn.peer_certificates().unwrap()[0].clone().into_owned()
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[test]
fn every_kind_of_pem_key_is_served() {
    let authority = Authority::new("test");
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let (p256, p384) = (ec_key(), KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap());
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    // What `openssl ecparam -genkey` writes before a SEC1 key: the OID of P-256.
    let parameters = pem("EC PARAMETERS", &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
    let cases = [
        ("PKCS#8 RSA", &rsa, rsa.serialize_pem()),
        ("PKCS#1 RSA", &rsa, pem("RSA PRIVATE KEY", unwrapped(&rsa.serialize_der()))),
        ("PKCS#8 P-256", &p256, p256.serialize_pem()),
        ("SEC1 P-256", &p256, pem("EC PRIVATE KEY", unwrapped(&p256.serialize_der()))),
        (
            "SEC1 with parameters",
            &p256,
            parameters + &pem("EC PRIVATE KEY", unwrapped(&p256.serialize_der())),
        ),
        ("PKCS#8 P-384", &p384, p384.serialize_pem()),
        ("PKCS#8 Ed25519", &ed25519, ed25519.serialize_pem()),
    ];
    for (what, key, text) in cases {
        let process = Process::start_with(&[], |folder| {
            write_pair(folder, &authority.server(key, -1, 9), &text);
        });
        let reply = Client::new(process.address("admission"), &authority.pem()).post("/mutate", REVIEW);
        assert_eq!(reply.status, 200, "{what}");
    }
}

#[test]
fn a_chain_is_served_whole() {
    let root = Authority::new("root");
    let middle = root.intermediate("middle");
    let key = ec_key();
    let process = Process::start_with(&[], |folder| {
        write_pair(folder, &(middle.server(&key, -1, 9) + &middle.pem()), &key.serialize_pem());
    });
    // The client knows the root alone.
    assert_eq!(Client::new(process.address("admission"), &root.pem()).post("/validate", REVIEW).status, 200);
}

#[test]
fn tls_1_2_and_1_3_are_spoken_and_sessions_resume() {
    let server = crate::serving::start(crate::serving::constant(), crate::serving::roomy());
    for (version, wanted) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let config = ClientConfig::builder_with_provider(prefect_guard::tls::provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots(&server.ca))
            .with_no_client_auth();
        let client = Client { address: server.address, config: Arc::new(config) };
        let mut first = client.connect();
        assert_eq!(first.conn.protocol_version(), Some(wanted));
        assert_eq!(client::post(&mut first, "/mutate", b"{}").unwrap().status, 200);
        let second = client.connect();
        assert_eq!(second.conn.handshake_kind(), Some(HandshakeKind::Resumed), "{wanted:?}");
    }
}

/// A ClientHello by hand, since no library here speaks these versions any more (RFC 5246, 7.4.1.2). But for version and
/// suite it is one that we would take: secp256r1, ECDSA with SHA-256.
fn hello(version: [u8; 2], suite: [u8; 2]) -> Vec<u8> {
    let extensions = [0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 4, 0, 2, 4, 3];
    let mut body = version.to_vec();
    body.extend([7; 32]);
    // No session, one suite, no compression.
    body.extend([0, 0, 2, suite[0], suite[1], 1, 0, 0, extensions.len() as u8]);
    body.extend(extensions);
    let mut message = vec![1, 0, 0, body.len() as u8];
    message.extend(body);
    let mut record = vec![0x16, 3, 1, 0, message.len() as u8];
    record.extend(message);
    record
}

#[test]
fn nothing_older_is_spoken_and_no_weak_suite() {
    let server = crate::serving::start(crate::serving::constant(), crate::serving::roomy());
    const GOOD: [u8; 2] = [0xc0, 0x2b];
    let answer = |version, suite| {
        let mut tcp = server.client().tcp();
        tcp.write_all(&hello(version, suite)).unwrap();
        let mut start = [0; 7];
        tcp.read_exact(&mut start).unwrap();
        (start[0], start[5])
    };
    assert_eq!(answer([3, 3], GOOD).0, 0x16, "a ServerHello for TLS 1.2 with ECDHE and AES-GCM");
    // TLS 1.0 and 1.1, then RSA key exchange, CBC, RC4, 3DES.
    let fatal_alert = (0x15, 2);
    for version in [[3, 1], [3, 2]] {
        assert_eq!(answer(version, GOOD), fatal_alert, "{version:?}");
    }
    for suite in [[0, 0x9c], [0xc0, 0x09], [0xc0, 0x23], [0xc0, 0x07], [0xc0, 0x08]] {
        assert_eq!(answer([3, 3], suite), fatal_alert, "{suite:?}");
    }
    assert_eq!(server.client().post("/mutate", b"{}").status, 200);
}

#[test]
fn the_client_chooses_between_http_1_and_2_by_alpn() {
    let server = crate::serving::start(crate::serving::constant(), crate::serving::roomy());
    for (offered, wanted) in
        [(vec!["h2", "http/1.1"], Some("h2")), (vec!["http/1.1"], Some("http/1.1")), (vec![], None)]
    {
        let mut client = server.client();
        let mut config = (*client.config).clone();
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        client.config = Arc::new(config);
        let mut stream = client.connect();
        assert_eq!(stream.conn.alpn_protocol(), wanted.map(str::as_bytes));
        if wanted != Some("h2") {
            assert_eq!(client::post(&mut stream, "/mutate", b"{}").unwrap().status, 200);
        }
    }
}

#[test]
fn plain_text_and_half_a_handshake_do_not_disturb() {
    let server = crate::serving::start(
        crate::serving::constant(),
        prefect_guard::serve::Limits {
            handshake: std::time::Duration::from_millis(700),
            ..crate::serving::roomy()
        },
    );
    let mut plain = server.client().tcp();
    plain.write_all(b"GET /mutate HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(client::closed(&mut plain));
    let mut half = server.client().tcp();
    // The first bytes of a ClientHello that announces more than ever comes.
    half.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).unwrap();
    assert!(client::closed(&mut half));
    assert_eq!(server.client().post("/mutate", b"{}").status, 200);
    assert_eq!(server.metric("prefect_guard_connections_refused_total{reason=\"handshake\"}"), 1.0);
    assert_eq!(server.metric("prefect_guard_connections_refused_total{reason=\"handshake_timeout\"}"), 1.0);
}

#[test]
fn a_secrets_symlink_swap_is_followed() {
    let authority = Authority::new("test");
    let (old, new) = (ec_key(), ec_key());
    let certificates = [authority.server(&old, -1, 9), authority.server(&new, -1, 20)];
    // As kubelet mounts a Secret: tls.crt -> ..data/tls.crt, ..data -> a folder by time.
    let process = Process::start_with(&FAST, |folder| {
        for (name, certificate, key) in [("1", &certificates[0], &old), ("2", &certificates[1], &new)] {
            std::fs::create_dir(folder.join(name)).unwrap();
            write_pair(&folder.join(name), certificate, &key.serialize_pem());
        }
        std::os::unix::fs::symlink("1", folder.join("..data")).unwrap();
        for name in ["tls.crt", "tls.key"] {
            std::fs::remove_file(folder.join(name)).unwrap();
            std::os::unix::fs::symlink(format!("..data/{name}"), folder.join(name)).unwrap();
        }
    });
    let client = Client::new(process.address("admission"), &authority.pem());
    // Rotation does not touch connections that stand.
    let mut standing = client.connect();
    assert_eq!(leaf(&process, &authority.pem()), der(&certificates[0]));
    let before = process.metric("prefect_guard_certificate_not_after_timestamp_seconds");
    std::os::unix::fs::symlink("2", process.path("..tmp")).unwrap();
    std::fs::rename(process.path("..tmp"), process.path("..data")).unwrap();
    process.wait_for("prefect_guard_reloads_total{what=\"certificate\",outcome=\"ok\"}", 1.0);
    assert_eq!(leaf(&process, &authority.pem()), der(&certificates[1]));
    assert_eq!(client::post(&mut standing, "/mutate", REVIEW).unwrap().status, 200);
    let after = process.metric("prefect_guard_certificate_not_after_timestamp_seconds");
    assert!((after - before - 11.0 * 86_400.0).abs() < 10.0, "{before} {after}");
    assert_eq!(process.metric("prefect_guard_reloads_total{what=\"certificate\",outcome=\"failed\"}"), 0.0);
}

#[test]
fn a_bad_pair_keeps_the_old_one_and_says_so() {
    let authority = Authority::new("test");
    let (good, other) = (ec_key(), ec_key());
    let certificate = authority.server(&good, -1, 9);
    let process = Process::start_with(&FAST, |folder| {
        write_pair(folder, &certificate, &good.serialize_pem());
    });
    let torn = &certificate[..certificate.len() / 2];
    let expired = authority.server(&good, -9, -1);
    let (key, wrong) = (good.serialize_pem(), other.serialize_pem());
    let client = Client::new(process.address("admission"), &authority.pem());
    let failed = "prefect_guard_reloads_total{what=\"certificate\",outcome=\"failed\"}";
    let cases = [
        (torn, &key, "cut short"),
        (&certificate, &wrong, "does not belong"),
        (&expired, &key, "expired"),
        ("", &key, "holds no"),
    ];
    for (index, (chain, key, said)) in cases.into_iter().enumerate() {
        write_pair(process.folder.path(), chain, key);
        process.wait_for(failed, index as f64 + 1.0);
        wait_until(said, || {
            let lines = process.said("reload failed, the last good one stays in force");
            lines.last().is_some_and(|line| line["problem"].as_str().unwrap().contains(said))
        });
        assert_eq!(leaf(&process, &authority.pem()), der(&certificate), "{said}");
    }
    std::fs::remove_file(process.path("tls.key")).unwrap();
    process.wait_for(failed, 5.0);
    assert_eq!(client.post("/mutate", REVIEW).status, 200);
    assert_eq!(process.metric("prefect_guard_reload_failing{what=\"certificate\"}"), 1.0);
    // And a good one mends it.
    let new = authority.server(&other, -1, 9);
    write_pair(process.folder.path(), &new, &wrong);
    process.wait_for("prefect_guard_reloads_total{what=\"certificate\",outcome=\"ok\"}", 1.0);
    assert_eq!(leaf(&process, &authority.pem()), der(&new));
    assert_eq!(process.metric("prefect_guard_reload_failing{what=\"certificate\"}"), 0.0);
    let text = format!("{:?}", process.lines.lock().unwrap());
    assert!(!text.contains("PRIVATE KEY"));
}

#[test]
fn a_bad_start_says_what_to_do() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new("test");
    let (key, other) = (ec_key(), ec_key());
    let start = |certificate: &str, key: &str| {
        write_pair(folder.path(), certificate, key);
        let (code, text) = fails(&FILES, folder.path());
        assert_eq!(code, 2);
        assert!(text.starts_with("prefect-guard: ") && text.contains("tls.crt"), "{text}");
        text
    };
    let good = authority.server(&key, -1, 9);
    assert!(start("", &key.serialize_pem()).contains("BEGIN CERTIFICATE"));
    assert!(start(&good, "").contains("holds no private key"));
    assert!(start(&good, &other.serialize_pem()).contains("does not belong"));
    assert!(start(&good, &pem("ENCRYPTED PRIVATE KEY", b"x")).contains("without a pass phrase"));
    assert!(start(&good, &pem("PRIVATE KEY", b"nonsense")).contains("cut short"));
    assert!(start(&authority.server(&key, -9, -1), &key.serialize_pem()).contains("expired on"));
    assert!(start(&authority.server(&key, 5, 9), &key.serialize_pem()).contains("not valid before"));
    std::fs::remove_file(folder.path().join("tls.key")).unwrap();
    let (_, text) = fails(&FILES, folder.path());
    assert!(text.contains("cannot read `tls.key`") && text.contains("--tls-key"), "{text}");
}

/// A client with a certificate of its own.
fn with_certificate(process: &Process, certificate: &str, key: &KeyPair) -> Client {
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config = client::builder()
        .with_root_certificates(roots(&process.ca))
        .with_client_auth_cert(vec![der(certificate)], key)
        .unwrap();
    Client { address: process.address("admission"), config: Arc::new(config) }
}

/// Whether a request gets through: with TLS 1.3 a refusal shows only after the client thinks it is connected.
fn admitted(client: &Client) -> bool {
    client.try_connect().and_then(|mut stream| client::post(&mut stream, "/mutate", REVIEW)).is_ok()
}

#[test]
fn only_clients_of_the_ca_with_an_allowed_name_are_admitted() {
    let (authority, foreign) = (Authority::new("clients"), Authority::new("clients"));
    let arguments =
        ["--client-ca", "ca.pem", "--client-name", "kube-apiserver", "--client-name", "api.example"];
    let process = Process::start_with(&[&FAST[..], &arguments[..]].concat(), |folder| {
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    });
    let key = ec_key();
    let client = |authority: &Authority, name, dns| {
        with_certificate(&process, &authority.client(&key, name, dns), &key)
    };
    assert!(admitted(&client(&authority, "kube-apiserver", None)));
    assert!(admitted(&client(&authority, "other", Some("api.example"))));
    assert!(!admitted(&client(&authority, "kube-apiserver-not", None)));
    assert!(!admitted(&client(&authority, "", None)));
    assert!(!admitted(&client(&foreign, "kube-apiserver", None)), "the right name from another CA");
    assert!(!admitted(&process.client()), "no certificate at all");
    // The admin port asks nobody.
    assert_eq!(process.admin("/readyz").0, 200);

    // Another CA takes over: who was admitted is not any more, not even by resuming a session.
    let resuming = client(&authority, "kube-apiserver", None);
    assert!(admitted(&resuming));
    std::fs::write(process.path("ca.pem"), foreign.pem()).unwrap();
    process.wait_for("prefect_guard_reloads_total{what=\"client_ca\",outcome=\"ok\"}", 1.0);
    assert!(!admitted(&resuming));
    assert!(admitted(&client(&foreign, "kube-apiserver", None)));
    // A broken file keeps it.
    std::fs::write(process.path("ca.pem"), "nothing").unwrap();
    process.wait_for("prefect_guard_reloads_total{what=\"client_ca\",outcome=\"failed\"}", 1.0);
    assert!(admitted(&client(&foreign, "kube-apiserver", None)));
}

#[test]
fn throw_away_certificates_verify_against_the_ca_that_was_written() {
    let folder = TempDir::new().unwrap();
    let mut command = crate::serving::process::command();
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let mut child = command
        .current_dir(folder.path())
        .args(["--tls-ephemeral", "--ca-out", "ca.pem"])
        .stdout(log)
        .spawn()
        .unwrap();
    let read = || std::fs::read_to_string(folder.path().join("log")).unwrap();
    wait_until("the server is ready", || read().contains("\"ready\""));
    let line = read().lines().find(|line| line.contains("\"admission\"")).unwrap().to_owned();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let ca = std::fs::read_to_string(folder.path().join("ca.pem")).unwrap();
    let reply = Client::new(line["address"].as_str().unwrap().parse().unwrap(), &ca).post("/mutate", REVIEW);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(reply.status, 200);
    assert!(!ca.contains("PRIVATE"));
}

#[test]
fn exactly_one_source_of_certificates_is_asked_for() {
    let folder = TempDir::new().unwrap();
    for (arguments, said) in [
        (&[][..], "--tls-cert"),
        (&["--tls-cert", "a"][..], "--tls-key"),
        (&["--tls-ephemeral", "--tls-cert", "a", "--tls-key", "b"][..], "cannot be used with"),
        (&["--tls-managed"][..], "--tls-secret"),
        (&["--tls-ephemeral", "--client-name", "x"][..], "--client-ca"),
        (&["--tls-ephemeral", "--drain", "soon"][..], "`soon` is no duration"),
        (&["--tls-ephemeral", "--max-body", "7MB"][..], "`7MB` is no size"),
        (&["--tls-ephemeral", "--max-body", "20MiB"][..], "--body-memory"),
        (&["--tls-ephemeral", "--max-connections", "0"][..], "--max-connections"),
    ] {
        let (code, text) = fails(arguments, folder.path());
        assert_eq!(code, 2, "{arguments:?}: {text}");
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_prefect-guard"))
        .env_clear()
        .env("PREFECT_GUARD_LISTEN", "8443")
        .args(["serve", "--tls-ephemeral"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("`8443` is no address"), "{text}");
}
