//! What the Secret of `--tls-managed` should hold, and what `caBundle` should: decisions without a clock or a cluster.
//!
//! One CA and one leaf serve all replicas. The rules that keep verification from ever failing:
//!
//! * A new CA is added in front of the old ones and signs nothing until every `caBundle` is seen to hold it and an
//!   hour has passed, so that every API server has seen it too.
//! * A CA leaves the Secret only when it has expired; so nobody, however long out of touch, serves a leaf that is not
//!   trusted. A CA in a `caBundle` that the Secret does not know leaves after an hour: its key may have leaked, which
//!   is why somebody emptied the Secret.
//! * Certificates begin an hour before they are made, for API servers whose clocks differ.
//! * A certificate that has not begun yet is left alone: it is a clock that is wrong, and replicas would fight.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::{RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use time::OffsetDateTime;

use super::identity::{Identity, validity};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// Ten years: nobody should ever have to think of it, and still it is renewed by itself.
const CA_LIFE: i64 = 3_650 * DAY;

/// Ninety days, renewed after sixty: a month in which renewal may fail.
const LEAF_LIFE: i64 = 90 * DAY;

/// How far back certificates begin.
const BACKDATED: i64 = HOUR;

/// How long a new CA waits before it signs the next leaf.
const SETTLING: i64 = HOUR;

/// What one Secret holds, in PEM. Empty at first.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Material {
    /// `ca.crt`: the CA that signs, then those that are still trusted.
    pub authorities: String,
    /// `ca.key`: the key of the first.
    pub authority_key: String,
    /// `tls.crt`.
    pub certificate: String,
    /// `tls.key`.
    pub key: String,
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Material { [hidden] }")
    }
}

/// What the decision needs to know beside the Secret.
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// DNS names and addresses that the leaf must have.
    pub names: Vec<String>,
    /// Seconds since 1970.
    pub now: i64,
    /// 0 to 1, of this replica: who renews first, so that replicas do not all try at once.
    pub jitter: f64,
    /// Whether every `caBundle` holds the CA that signs.
    pub spread: bool,
}

/// What is to be done with the Secret.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it is as it should be.
    Keep,
    /// Write this, if nobody else was faster.
    Write {
        /// The new content.
        material: Material,
        /// Whether there is a new CA in it.
        authority: bool,
        /// Whether there is a new leaf in it.
        leaf: bool,
    },
}

/// A CA that can sign.
struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    key: KeyPair,
    from: i64,
    until: i64,
}

impl Authority {
    fn read(material: &Material) -> Option<Authority> {
        let der = certificates(material.authorities.as_bytes()).into_iter().next()?;
        let (from, until) = validity(&der)?;
        let key = KeyPair::from_pem(&material.authority_key).ok()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
        let belongs = *parsed.public_key().subject_public_key.data == *key.public_key_raw();
        belongs.then(|| Authority { pem: pem(&der), key, from, until, der })
    }

    fn make(now: i64) -> Result<Authority, rcgen::Error> {
        let (from, until) = (now - BACKDATED, now + CA_LIFE);
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "prefect-guard CA");
        params.not_before = at(from);
        params.not_after = at(until);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?;
        Ok(Authority { pem: certificate.pem(), der: certificate.der().clone(), key, from, until })
    }

    fn sign(self, names: Vec<String>, now: i64) -> Result<(String, String), rcgen::Error> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "prefect-guard");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        // Never outside the life of the CA.
        params.not_before = at((now - BACKDATED).max(self.from));
        params.not_after = at((now + LEAF_LIFE).min(self.until));
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let issuer = Issuer::from_ca_cert_der(&self.der, self.key)?;
        Ok((params.signed_by(&key, &issuer)?.pem(), key.serialize_pem()))
    }
}

/// Decides what the Secret should hold.
pub fn plan(material: &Material, circumstances: &Circumstances) -> Result<Step, rcgen::Error> {
    let Circumstances { names, now, jitter, spread } = circumstances;
    let now = *now;
    let kept =
        Authority::read(material).filter(|authority| !due(authority.from, authority.until, now, *jitter));
    let fresh = kept.is_none();
    let authority = match kept {
        Some(authority) => authority,
        None => Authority::make(now)?,
    };
    let authorities = if fresh {
        // What was trusted stays trusted, whatever happened to its key.
        authority.pem.clone() + &unexpired(material.authorities.as_bytes(), now).join("")
    } else {
        material.authorities.clone()
    };
    let leaf = Leaf::read(material, &authorities, names);
    let sign = match &leaf {
        None => true,
        Some(leaf) if leaf.until <= now => true,
        Some(_) if fresh => false,
        Some(leaf) => {
            // After a change of CA; a CA that is the only one was trusted from the start.
            let settled =
                leaf.issued_by(&authority.der) || (*spread && now >= authority.from + BACKDATED + SETTLING);
            settled && (!leaf.issued_by(&authority.der) || due(leaf.from, leaf.until, now, *jitter))
        }
    };
    if !fresh && !sign {
        return Ok(Step::Keep);
    }
    let authority_key = authority.key.serialize_pem();
    let (certificate, key) = if sign {
        authority.sign(wanted_names(names, material), now)?
    } else {
        (material.certificate.clone(), material.key.clone())
    };
    Ok(Step::Write {
        material: Material { authorities, authority_key, certificate, key },
        authority: fresh,
        leaf: sign,
    })
}

/// Whether two thirds of a life are over, and a little more for each replica.
fn due(from: i64, until: i64, now: i64, jitter: f64) -> bool {
    let life = (until - from) as f64;
    (now - from) as f64 >= life * (2.0 / 3.0 + 0.03 * jitter)
}

/// A leaf that can be served: it fits its key, has the names, and a CA of the Secret signed it.
struct Leaf {
    der: CertificateDer<'static>,
    from: i64,
    until: i64,
}

impl Leaf {
    fn read(material: &Material, authorities: &str, names: &[String]) -> Option<Leaf> {
        Identity::read(material.certificate.as_bytes(), material.key.as_bytes()).ok()?;
        let der = certificates(material.certificate.as_bytes()).into_iter().next()?;
        let (from, until) = validity(&der)?;
        let leaf = Leaf { der, from, until };
        let trusted = certificates(authorities.as_bytes()).iter().any(|authority| leaf.issued_by(authority));
        let parsed = ParsedCertificate::try_from(&leaf.der).ok()?;
        let named = names.iter().all(|name| {
            ServerName::try_from(name.as_str()).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
        });
        (trusted && named).then_some(leaf)
    }

    /// Whether `authority` signed it. Judged within the leaf's own time: expiry is another question.
    fn issued_by(&self, authority: &CertificateDer<'static>) -> bool {
        let Ok(parsed) = ParsedCertificate::try_from(&self.der) else { return false };
        let mut roots = RootCertStore::empty();
        if roots.add(authority.clone()).is_err() {
            return false;
        }
        let Some((from, until)) = validity(authority) else { return false };
        let middle = (self.from.max(from) / 2 + self.until.min(until) / 2).max(0).cast_unsigned();
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(middle));
        let algorithms = super::provider().signature_verification_algorithms;
        debug_assert!(algorithms.supported_schemes().contains(&SignatureScheme::ECDSA_NISTP256_SHA256));
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], time, algorithms.all).is_ok()
    }
}

/// Our names and those that the leaf has already: replicas that are given different ones do not fight.
fn wanted_names(names: &[String], material: &Material) -> Vec<String> {
    let mut all = names.to_vec();
    let leaf = certificates(material.certificate.as_bytes()).into_iter().next();
    if let Some(params) = leaf.and_then(|der| alternative_names(&der)) {
        all.extend(params);
    }
    all.sort();
    all.dedup();
    all
}

fn alternative_names(der: &CertificateDer<'_>) -> Option<Vec<String>> {
    use x509_parser::extensions::GeneralName;
    let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    Some(
        names
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                GeneralName::IPAddress(bytes) => match *bytes {
                    [a, b, c, d] => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
                    _ => Some(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
                },
                _ => None,
            })
            .collect(),
    )
}

/// Whether `bundle` holds the CA that signs.
pub fn holds_signer(bundle: &[u8], material: &Material) -> bool {
    let signer = certificates(material.authorities.as_bytes()).into_iter().next();
    signer.is_some_and(|signer| certificates(bundle).contains(&signer))
}

/// CAs in a `caBundle` that the Secret does not know, in PEM: of a Secret that was thrown away, of another way to keep
/// certificates, or of a replica that has just written a newer Secret than we have read.
pub fn unknown_cas(bundle: &[u8], material: &Material) -> Vec<String> {
    let ours = certificates(material.authorities.as_bytes());
    certificates(bundle).iter().filter(|der| !ours.contains(der)).map(pem).collect()
}

/// What a `caBundle` should be, if not what it is: all of ours, everything of others that has neither expired nor been
/// `revoked`, and nothing that is no certificate (the API server refuses the whole configuration for it).
pub fn bundle(existing: &[u8], material: &Material, now: i64, revoked: &[String]) -> Option<String> {
    let mut wanted = unexpired(material.authorities.as_bytes(), now);
    for other in unexpired(existing, now) {
        if !wanted.contains(&other) && !revoked.contains(&other) {
            wanted.push(other);
        }
    }
    // The order has no meaning: two replicas must not take turns at sorting.
    let mut have: Vec<String> = certificates(existing).iter().map(pem).collect();
    let mut want = wanted.clone();
    have.sort();
    want.sort();
    let clean = !existing.is_empty() && have == want && blocks(existing) == have.len();
    (!clean && !wanted.is_empty()).then(|| wanted.concat())
}

/// Certificates that still count at `now`, in PEM, in order.
fn unexpired(text: &[u8], now: i64) -> Vec<String> {
    certificates(text)
        .iter()
        .filter(|der| validity(der).is_some_and(|(_, until)| until > now))
        .map(pem)
        .collect()
}

/// Every readable certificate of a PEM text.
fn certificates(text: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(text)
        .filter_map(Result::ok)
        .filter(|der| validity(der).is_some())
        .collect()
}

/// How many blocks a PEM text begins.
fn blocks(text: &[u8]) -> usize {
    memchr::memmem::find_iter(text, b"-----BEGIN").count()
}

fn pem(der: &CertificateDer<'static>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        out.push('\n');
    }
    out + "-----END CERTIFICATE-----\n"
}

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// The identity in the Secret, whatever our own clock thinks of it: the API server's is the one that counts.
pub fn identity(material: &Material) -> Result<Identity, super::identity::IdentityError> {
    Identity::read(material.certificate.as_bytes(), material.key.as_bytes())
}

/// A number from 0 to 1 that differs from replica to replica.
pub fn jitter() -> f64 {
    let mut byte = [0];
    // Without randomness all replicas try at once, which costs a conflict and nothing else.
    let _ = Arc::clone(&super::provider()).secure_random.fill(&mut byte);
    f64::from(byte[0]) / 255.0
}
