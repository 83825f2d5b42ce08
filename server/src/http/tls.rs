//! The listener's certificate, replaced whole when its files are read again.
//!
//! Invariant: a certificate that does not parse leaves the present one in force.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::Tls;

/// The present certificate and key.
pub(crate) struct Certificate {
    files: Tls,
    present: ArcSwap<ServerConfig>,
}

impl Certificate {
    /// Reads the files.
    pub(crate) fn load(files: &Tls) -> anyhow::Result<Certificate> {
        let present = ArcSwap::from_pointee(read(files)?);
        Ok(Certificate { files: files.clone(), present })
    }

    /// Reads them again.
    pub(crate) fn reload(&self) -> anyhow::Result<()> {
        self.present.store(Arc::new(read(&self.files)?));
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.present.load_full())
    }
}

fn read(files: &Tls) -> anyhow::Result<ServerConfig> {
    let chain = certificates(&files.cert_file).context("http.tls.cert_file")?;
    let key = PrivateKeyDer::from_pem_file(&files.key_file)
        .with_context(|| format!("http.tls.key_file {}", files.key_file))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .context("TLS versions")?;
    let builder = match &files.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(file).context("http.tls.client_ca_file")? {
                roots
                    .add(certificate)
                    .with_context(|| format!("http.tls.client_ca_file {file}"))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().context("http.tls.client_ca_file")?)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .context("http.tls: certificate and key do not fit together")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(file: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_file_iter(file)
        .with_context(|| file.to_string())?
        .collect::<Result<_, _>>()
        .with_context(|| format!("{file} is not PEM"))?;
    if all.is_empty() {
        bail!("{file} holds no certificate");
    }
    Ok(all)
}
