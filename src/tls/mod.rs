//! TLS as configuration: who the relay is, and whom its links trust.
//!
//! - [`identity`]: the certificate and key that are in force. [`reload`]: when another pair takes
//!   their place. [`trust`]: the roots that outbound links are verified against.
//!
//! Owns: certificates, keys, roots, and the rustls configurations made of them. Must not know:
//! connections, threads, clocks.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem;

pub mod identity;
pub mod reload;
pub mod trust;

/// The only protocol inside TLS (RFC 7301): a WebSocket starts with HTTP/1.1.
const ALPN: &[u8] = b"http/1.1";

/// A longer PEM file is refused, in bytes: all the roots of a system are a quarter of this.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// Why certificates, a key or roots cannot be used.
#[derive(Debug)]
pub enum TlsError {
    /// The file cannot be read.
    Read(PathBuf, io::Error),
    /// The file is longer than a PEM file can sensibly be.
    TooLong(PathBuf),
    /// The file is no PEM, or holds nothing of the wanted kind.
    Pem(PathBuf, &'static str, pem::Error),
    /// The certificate and the key are not a pair, or rustls cannot use one of them.
    Pair(rustls::Error),
    /// A root certificate is broken.
    Root(PathBuf, rustls::Error),
    /// No usable root was found: why, as far as known.
    NoRoots(String),
    /// rustls cannot work with what it was given.
    Setup(rustls::Error),
}

impl std::error::Error for TlsError {}

impl fmt::Display for TlsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Read(path, error) => write!(out, "cannot read {}: {error}", path.display()),
            TlsError::TooLong(path) => {
                write!(out, "{} has more than {PEM_BYTES_MAX} bytes", path.display())
            }
            TlsError::Pem(path, wanted, pem::Error::NoItemsFound) => {
                write!(out, "{} holds no {wanted} in PEM form", path.display())
            }
            TlsError::Pem(path, wanted, error) => {
                write!(out, "{} holds no {wanted}: {error:?}", path.display())
            }
            TlsError::Pair(rustls::Error::InconsistentKeys(_)) => {
                out.write_str("the key does not belong to the certificate")
            }
            TlsError::Pair(error) => write!(out, "certificate and key are no usable pair: {error}"),
            TlsError::Root(path, error) => {
                write!(out, "{} holds a broken root: {error}", path.display())
            }
            TlsError::NoRoots(why) => write!(
                out,
                "no root certificates were found to verify wss:// links with{why}; \
                 install the system's (ca-certificates) or name a file with --tls-roots"
            ),
            TlsError::Setup(error) => write!(out, "TLS cannot be set up: {error}"),
        }
    }
}

/// The cryptography in use.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The content of a PEM file.
fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(PEM_BYTES_MAX + 1).read_to_end(&mut content))
        .map_err(|error| TlsError::Read(path.to_owned(), error))?;
    match content.len() as u64 > PEM_BYTES_MAX {
        true => Err(TlsError::TooLong(path.to_owned())),
        false => Ok(content),
    }
}
