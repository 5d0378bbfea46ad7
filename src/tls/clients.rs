//! Client certificates: which CA must have signed them and which names may connect.
//!
//! The API server shows a certificate only where an admission configuration file tells it to, so this is opt-in.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use thiserror::Error as ThisError;

/// Why client certificates cannot be checked.
#[derive(Debug, ThisError)]
pub enum ClientsError {
    /// No certificate in the file.
    #[error("the file holds no `BEGIN CERTIFICATE` block; write the CA certificates there in PEM")]
    Empty,
    /// One of them is broken.
    #[error("certificate {0} of the file is cut short or no CA certificate")]
    Broken(usize),
    /// rustls refused them.
    #[error("the certificates cannot be used as CAs")]
    Refused(#[source] rustls::server::VerifierBuilderError),
}

/// Asks every client for a certificate signed by one of the CAs in `pem`; with `names`, its common name or one of its
/// DNS names must be among them.
pub fn verifier(pem: &[u8], names: &[String]) -> Result<Arc<dyn ClientCertVerifier>, ClientsError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let certificate = certificate.map_err(|_| ClientsError::Broken(index + 1))?;
        roots.add(certificate).map_err(|_| ClientsError::Broken(index + 1))?;
    }
    if roots.is_empty() {
        return Err(ClientsError::Empty);
    }
    let signed = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), super::provider())
        .build()
        .map_err(ClientsError::Refused)?;
    Ok(if names.is_empty() { signed } else { Arc::new(Named { signed, names: names.to_vec() }) })
}

/// A signature check followed by the allow-list.
#[derive(Debug)]
struct Named {
    signed: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

#[derive(Debug, ThisError)]
#[error("the client certificate's name is not on the allow-list")]
struct NotAllowed;

impl Named {
    fn allows(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return false };
        let listed = |name: &str| self.names.iter().any(|allowed| allowed == name);
        let common = parsed.subject().iter_common_name().any(|name| name.as_str().is_ok_and(listed));
        let alternative = || {
            let names = parsed.subject_alternative_name().ok().flatten();
            names.is_some_and(|names| {
                names.value.general_names.iter().any(|name| match name {
                    x509_parser::extensions::GeneralName::DNSName(name) => listed(name),
                    _ => false,
                })
            })
        };
        common || alternative()
    }
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.signed.verify_client_cert(end_entity, intermediates, now)?;
        if self.allows(end_entity) {
            return Ok(verified);
        }
        Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(NotAllowed)))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}
