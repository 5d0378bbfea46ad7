//! Certificates made for one test.

use std::time::SystemTime;

use prefect_guard::tls::ephemeral::{self, Pair};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256,
};
use time::{Duration, OffsetDateTime};

/// A CA and a leaf for loopback.
pub fn pair() -> Pair {
    ephemeral::make(&[], SystemTime::now()).unwrap()
}

/// A CA that can sign more than one leaf.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Authority(CertifiedIssuer::self_signed(params, ec_key()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A CA below this one.
    pub fn intermediate(&self, name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Authority(CertifiedIssuer::signed_by(params, ec_key(), &self.0).unwrap())
    }

    /// A server certificate for loopback with this key, good from and until so many days from now.
    pub fn server(&self, key: &KeyPair, from: i64, until: i64) -> String {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        let now = OffsetDateTime::now_utc();
        params.not_before = now + Duration::days(from);
        params.not_after = now + Duration::days(until);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.signed_by(key, &self.0).unwrap().pem()
    }

    /// A client certificate with this common name and DNS name.
    pub fn client(&self, key: &KeyPair, common_name: &str, dns: Option<&str>) -> String {
        let mut params =
            CertificateParams::new(dns.map(str::to_owned).into_iter().collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.signed_by(key, &self.0).unwrap().pem()
    }
}

pub fn ec_key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}
