//! TLS by rustls, with the cryptography of ring.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::EdgeError;
use crate::settings;

/// The certificate that a server shows, and its key.
#[derive(Clone)]
pub struct Tls(Arc<ServerConfig>);

impl Tls {
    /// That of a server's settings, if they name one.
    ///
    /// # Errors
    ///
    /// Those of [`Tls::read`].
    pub fn of(settings: &settings::Tls) -> Result<Option<Tls>, EdgeError> {
        match (&settings.certificate, &settings.key) {
            (Some(certificate), Some(key)) => Tls::read(certificate, key).map(Some),
            _ => Ok(None),
        }
    }

    /// Reads PEM files: the certificate with those that it was signed by, and the key.
    ///
    /// # Errors
    ///
    /// [`EdgeError::Read`], [`EdgeError::Pem`].
    pub fn read(certificate: &Path, key: &Path) -> Result<Tls, EdgeError> {
        let failed = |path: &Path, expected| {
            let path = path.to_path_buf();
            move |error| match error {
                pem::Error::Io(source) => EdgeError::Read { path, source },
                pem::Error::NoItemsFound => EdgeError::Pem { path, found: "none found".into(), expected },
                other => EdgeError::Pem { path, found: other.to_string(), expected },
            }
        };
        let chain = || {
            let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
            if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) }
        };
        let chain = chain().map_err(failed(certificate, "certificates as PEM"))?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(failed(key, "a private key as PEM"))?;
        let unfit = |error: rustls::Error| EdgeError::Pem {
            path: key.to_path_buf(),
            found: error.to_string(),
            expected: "the key of the certificate",
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unfit)?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(unfit)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Tls(Arc::new(config)))
    }

    pub(super) fn acceptor(self) -> TlsAcceptor {
        TlsAcceptor::from(self.0)
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Tls(..)")
    }
}
