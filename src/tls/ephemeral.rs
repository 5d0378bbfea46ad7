//! Throw-away certificates, for trying things out: they live as long as the process.

use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use time::{Duration, OffsetDateTime};

/// How long a throw-away certificate is good for: longer than anybody tries things out.
const LIFE: Duration = Duration::days(30);

/// A CA and a leaf signed by it, all in PEM.
pub struct Pair {
    /// The CA certificate, for `caBundle`.
    pub ca: String,
    /// The leaf.
    pub certificate: String,
    /// The leaf's key.
    pub key: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pair { key: [hidden] }")
    }
}

/// Makes a CA and a leaf for `localhost`, the loopback addresses and `names`. The CA's key is forgotten at once.
pub fn make(names: &[String], now: SystemTime) -> Result<Pair, rcgen::Error> {
    let now = OffsetDateTime::from(now);
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.distinguished_name.push(DnType::CommonName, "prefect-guard throw-away CA");
    ca.not_before = now - Duration::minutes(5);
    ca.not_after = now + LIFE;
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)?;

    let mut all = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    all.extend_from_slice(names);
    let mut leaf = CertificateParams::new(all)?;
    leaf.distinguished_name.push(DnType::CommonName, "prefect-guard");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.use_authority_key_identifier_extension = true;
    leaf.not_before = now - Duration::minutes(5);
    leaf.not_after = now + LIFE;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = leaf.signed_by(&key, &ca)?;
    Ok(Pair { ca: ca.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
}
