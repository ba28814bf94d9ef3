//! Whom outbound links trust, and whom a process that looks after its own relay does.
//!
//! Owns: the roots. Must not know: which hosts are dialled.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::{ALPN, TlsError, provider, read};

/// What links verify the other side with: the roots in `file` and no others, or the system's.
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` stand in for the system's, as with OpenSSL.
///
/// # Errors
/// There is no usable root.
pub fn client_config(file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match file {
        Some(file) => roots_of_file(file)?,
        None => roots_of_system()?,
    };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// For asking the relay of this machine whether it is well, and for nothing else: any certificate will do, for it is not
/// issued for a loopback address, and nothing is said that anybody may not hear.
///
/// # Errors
/// TLS cannot be set up.
pub fn own_relay_config() -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider())))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// Takes every certificate whose key the other side has.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn roots_of_file(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(&read(file)?) {
        let root = root.map_err(|error| TlsError::Pem(file.to_owned(), "certificate", error))?;
        roots.add(root).map_err(|error| TlsError::Root(file.to_owned(), error))?;
    }
    match roots.is_empty() {
        true => Err(TlsError::NoRoots(format!(" in {}", file.display()))),
        false => Ok(roots),
    }
}

/// One root among the system's that cannot be read does no harm to the others.
fn roots_of_system() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    match roots.is_empty() {
        true => {
            let why = found.errors.first().map(|error| format!(" ({error})"));
            Err(TlsError::NoRoots(why.unwrap_or_default()))
        }
        false => Ok(roots),
    }
}
