//! Who the relay is: the certificate and key that new connections get.
//!
//! Owns: reading and judging a pair, and which one is in force. Must not know: when to look again.
//!
//! Invariant: there is always a pair in force, and it is whole: the key belongs to the certificate.
//! A connection keeps the one it began with.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::crypto::ring::Ticketer;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;

use super::{ALPN, TlsError, provider, read};

/// Where a pair lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFiles {
    /// The certificate and those that lead from it to a root, in PEM form.
    pub cert: PathBuf,
    /// Its private key, in PEM form.
    pub key: PathBuf,
}

/// What lies there.
#[derive(PartialEq, Eq)]
pub(super) struct Pair {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl PairFiles {
    /// Reads both files.
    pub(super) fn read(&self) -> Result<Pair, TlsError> {
        Ok(Pair { cert: read(&self.cert)?, key: read(&self.key)? })
    }

    /// What new connections would get with this pair.
    fn judge(&self, pair: &Pair) -> Result<ServerConfig, TlsError> {
        let no_pem = |path: &PathBuf, wanted, error| TlsError::Pem(path.clone(), wanted, error);
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&pair.cert)
            .collect::<Result<_, _>>()
            .map_err(|error| no_pem(&self.cert, "certificate", error))?;
        let key = PrivateKeyDer::from_pem_slice(&pair.key)
            .map_err(|error| no_pem(&self.key, "private key", error))?;
        if chain.is_empty() {
            let error = rustls::pki_types::pem::Error::NoItemsFound;
            return Err(no_pem(&self.cert, "certificate", error));
        }
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(TlsError::Pair)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        // The client keeps the session, encrypted with a key of ours that changes by itself: a
        // peer that comes back costs no signature, and the relay remembers nothing per peer.
        config.ticketer = Ticketer::new().map_err(TlsError::Setup)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(config)
    }
}

/// See the module's head.
#[derive(Debug)]
pub struct Identity {
    files: PairFiles,
    current: Mutex<Arc<ServerConfig>>,
}

impl Identity {
    /// The pair in `files`.
    ///
    /// # Errors
    /// A file cannot be read, or they are no usable pair.
    pub fn load(files: PairFiles) -> Result<Identity, TlsError> {
        let config = files.judge(&files.read()?)?;
        Ok(Identity { files, current: Mutex::new(Arc::new(config)) })
    }

    /// Where the pair lies.
    pub fn files(&self) -> &PairFiles {
        &self.files
    }

    /// What a new connection gets.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts `pair` in force, if it is usable.
    pub(super) fn replace(&self, pair: &Pair) -> Result<(), TlsError> {
        let config = Arc::new(self.files.judge(pair)?);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }
}
