//! An authority of the test's own, and the files it issues.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use crate::support::node::Scratch;
use crate::support::relay::{Kind, Relay, Setup};

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    scratch: Scratch,
}

/// A certificate for 127.0.0.1 and localhost, and its key, as PEM.
pub struct Pair {
    pub cert: String,
    pub key: String,
    pub der: Vec<u8>,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new([]).expect("no names");
        // Names that differ: OpenSSL takes a certificate for self-signed whose issuer has the same name.
        params.distinguished_name.push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("a root");
        let scratch = Scratch::new();
        fs::write(scratch.0.join("root.pem"), root.pem()).expect("write the root");
        let der = root.der().clone();
        Authority { issuer: Issuer::new(params, key), root: der, scratch }
    }

    pub fn issue(&self) -> Pair {
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, "a relay");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair { cert: cert.pem(), key: key.serialize_pem(), der: cert.der().to_vec() }
    }

    /// The root certificate's file.
    pub fn root(&self) -> PathBuf {
        self.scratch.0.join("root.pem")
    }

    pub fn cert_file(&self) -> PathBuf {
        self.scratch.0.join("cert.pem")
    }

    pub fn key_file(&self) -> PathBuf {
        self.scratch.0.join("key.pem")
    }

    /// What a relay of this authority reads.
    pub fn install(&self, pair: &Pair) {
        fs::write(self.cert_file(), &pair.cert).expect("write the certificate");
        fs::write(self.key_file(), &pair.key).expect("write the key");
    }

    /// The flags of a relay that speaks TLS; a certificate has to be installed.
    pub fn flags(&self) -> Vec<String> {
        let flag = |name: &str, path: PathBuf| format!("--{name}={}", path.display());
        vec![flag("tls-cert", self.cert_file()), flag("tls-key", self.key_file())]
    }

    pub fn setup(&self, more: &[&str]) -> Setup {
        let mut setup = Setup::new(Kind::Gunmetal).flags(more);
        setup.flags.extend(self.flags());
        setup
    }

    /// A relay with a fresh certificate.
    pub fn relay(&self, more: &[&str]) -> Relay {
        self.install(&self.issue());
        self.setup(more).start()
    }

    /// A client that trusts this authority and nobody else. It resumes no sessions, so that it is shown a certificate
    /// each time.
    pub fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        Arc::new(config)
    }
}

/// The URL of a relay that speaks TLS on this port.
pub fn url(port: u16) -> String {
    format!("wss://127.0.0.1:{port}/gun")
}
