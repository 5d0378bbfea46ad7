//! A certificate chain and its private key, checked against each other and the clock.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

/// How far a fresh certificate's start may lie ahead of our clock.
const SKEW: Duration = Duration::from_secs(300);

/// What can be served.
#[derive(Debug)]
pub struct Identity {
    /// Chain and key, leaf first.
    pub(super) key: Arc<CertifiedKey>,
    /// Start of the leaf, seconds since 1970.
    pub not_before: i64,
    /// End of the leaf, seconds since 1970.
    pub not_after: i64,
}

/// Why a certificate and key cannot be served. Never holds anything of a key.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum IdentityError {
    /// The certificate file has no certificate.
    #[error(
        "the certificate file holds no `BEGIN CERTIFICATE` block; write the chain there in PEM, leaf first"
    )]
    NoCertificate,
    /// The certificate file holds something broken.
    #[error(
        "certificate {position} of the file is cut short or no certificate; write the whole chain in PEM"
    )]
    BrokenCertificate {
        /// Which one, from 1.
        position: usize,
    },
    /// The key file has no key.
    #[error("the key file holds no private key; write it there in PEM (PKCS#8, SEC1 or PKCS#1)")]
    NoKey,
    /// The key needs a pass phrase.
    #[error(
        "the private key is encrypted; write it without a pass phrase (`openssl pkey -in KEY -out PLAIN`)"
    )]
    EncryptedKey,
    /// The key file holds something broken.
    #[error(
        "the private key is cut short or of an unknown kind; use ECDSA P-256 or P-384, RSA or Ed25519 in PEM"
    )]
    BrokenKey,
    /// The two do not belong together.
    #[error("the private key does not belong to the certificate; give the pair that was made together")]
    Mismatch,
    /// It is over.
    #[error("the certificate expired on {0}; renew it")]
    Expired(String),
    /// It has not begun.
    #[error("the certificate is not valid before {0}; check this machine's clock")]
    NotYet(String),
}

impl Identity {
    /// Reads a PEM chain and key and checks that they belong together and are valid at `now`.
    pub fn from_pem(chain: &[u8], key: &[u8], now: SystemTime) -> Result<Identity, IdentityError> {
        let identity = Identity::read(chain, key)?;
        let now = seconds(now);
        if identity.not_after <= now {
            return Err(IdentityError::Expired(date(identity.not_after)));
        }
        if identity.not_before > now + SKEW.as_secs().cast_signed() {
            return Err(IdentityError::NotYet(date(identity.not_before)));
        }
        Ok(identity)
    }

    /// Reads a PEM chain and key and checks that they belong together, whatever the time.
    pub fn read(chain: &[u8], key: &[u8]) -> Result<Identity, IdentityError> {
        let chain = read_chain(chain)?;
        let key = read_key(key)?;
        let leaf = chain.first().ok_or(IdentityError::NoCertificate)?;
        let (not_before, not_after) =
            validity(leaf).ok_or(IdentityError::BrokenCertificate { position: 1 })?;
        let key = CertifiedKey::from_der(chain, key, &super::provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => IdentityError::Mismatch,
            _ => IdentityError::BrokenKey,
        })?;
        Ok(Identity { key: Arc::new(key), not_before, not_after })
    }
}

/// Seconds since 1970; a clock before that counts as 1970.
pub fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed())
}

fn date(seconds: i64) -> String {
    time::OffsetDateTime::from_unix_timestamp(seconds)
        .map_or_else(|_| "an impossible date".to_owned(), |at| format!("{} {}", at.date(), at.time()))
}

/// Start and end of a certificate, seconds since 1970.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let validity = parsed.validity();
    Some((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

fn read_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let broken = IdentityError::BrokenCertificate { position: chain.len() + 1 };
        let certificate = certificate.map_err(|_| broken)?;
        if validity(&certificate).is_none() {
            return Err(IdentityError::BrokenCertificate { position: chain.len() + 1 });
        }
        chain.push(certificate);
    }
    if chain.is_empty() { Err(IdentityError::NoCertificate) } else { Ok(chain) }
}

fn read_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, IdentityError> {
    // Keys made by `openssl ecparam -genkey` have a block of parameters before them, which the reader skips.
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound if contains(pem, b"BEGIN ENCRYPTED PRIVATE KEY") => {
            IdentityError::EncryptedKey
        }
        pem::Error::NoItemsFound => IdentityError::NoKey,
        _ => IdentityError::BrokenKey,
    })
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(text, wanted).is_some()
}
