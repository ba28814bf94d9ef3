//! Whom outbound links trust.
//!
//! Owns: the roots. Must not know: which hosts are dialled.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

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
