//! TLS for a link: rustls with ring, trust from a file or the operating system.
//!
//! Invariant: the server's certificate is verified, by authority, name and time, unless the target says
//! `insecure` itself; files are looked at at every dial, so a rotated certificate is in use at the next
//! one and a broken file fails closed.

mod kept;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use model::reading::Reason;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::Error;
use crate::{Tls, certificate};

/// Shakes hands over `stream`, which leads to `address`; `host` is its host.
pub(crate) async fn wrap(
    stream: TcpStream,
    tls: &Tls,
    (address, host): (&str, &str),
) -> Result<TlsStream<TcpStream>, Error> {
    let name = tls.server_name.as_deref().unwrap_or(host).to_string();
    let name = ServerName::try_from(name).map_err(|e| failed("server name", &e))?;
    let (settings, to) = (tls.clone(), address.to_string());
    let kept = tokio::task::spawn_blocking(move || kept::take(&to, &settings, Instant::now()))
        .await
        .map_err(|e| failed("reading certificates", &e))??;
    match TlsConnector::from(kept.config()).connect(name, stream).await {
        Ok(stream) => {
            kept.met(server_ends_at(&stream));
            Ok(stream)
        }
        Err(e) => {
            kept::forget(address, tls);
            Err(handshake(&e))
        }
    }
}

/// Whether the handshake continued an earlier session.
pub(crate) fn is_resumed(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
}

/// Seconds since 1970 at which the server's certificate ends.
pub(crate) fn server_ends_at(stream: &TlsStream<TcpStream>) -> Option<i64> {
    certificate::ends_at(stream.get_ref().1.peer_certificates()?.first()?)
}

/// Seconds since 1970 at which the first certificate of a PEM file ends; none when there is none.
pub fn file_ends_at(file: &str) -> Option<i64> {
    certificate::ends_at(certificates(file).ok()?.first()?)
}

/// Why a handshake, or the first read after it, failed, in words for whoever has to mend it; none when
/// it was not TLS that failed.
pub(crate) fn said(error: &std::io::Error) -> Option<String> {
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match inner {
        rustls::Error::InvalidCertificate(why) => certificate_refused(why),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server asks for a client certificate and none was shown".into()
        }
        rustls::Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired,
        ) => format!("the server does not take our client certificate: {inner}"),
        rustls::Error::InvalidMessage(_) => {
            "what answered does not speak TLS; is this the plain port?".into()
        }
        other => other.to_string(),
    })
}

fn certificate_refused(why: &CertificateError) -> String {
    use CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet,
        NotValidYetContext, UnknownIssuer,
    };
    match why {
        UnknownIssuer => "the server's certificate is not from an authority we trust".into(),
        Expired | ExpiredContext { .. } => "the server's certificate has expired".into(),
        NotValidYet | NotValidYetContext { .. } => {
            "the server's certificate is not valid yet".into()
        }
        NotValidForName => "the server's certificate is for another name".into(),
        NotValidForNameContext { expected, presented } => format!(
            "the server's certificate is for another name: expected {}, it says {}",
            expected.to_str(),
            presented.join(", ")
        ),
        other => format!("the server's certificate is refused: {other}"),
    }
}

fn handshake(error: &std::io::Error) -> Error {
    let said = said(error).unwrap_or_else(|| error.to_string());
    Error::new(Reason::Tls, format!("handshake: {said}"))
}

fn client_config(tls: &Tls) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| failed("protocol versions", &e))?;
    let builder = match tls.insecure {
        false => builder.with_root_certificates(roots(tls)?),
        true => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        }
    };
    match (&tls.cert_file, &tls.key_file) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|e| failed(key, &e))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| failed(cert, &e))
        }
        _ => Err(Error::new(Reason::Tls, "cert_file and key_file go together")),
    }
}

/// Takes every certificate. That the other end holds its key is still proved.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn roots(tls: &Tls) -> Result<Arc<RootCertStore>, Error> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let Some(file) = &tls.ca_file else {
        return Ok(SYSTEM.get_or_init(|| Arc::new(system_roots())).clone());
    };
    let mut store = RootCertStore::empty();
    for certificate in certificates(file)? {
        store.add(certificate).map_err(|e| failed(file, &e))?;
    }
    Ok(Arc::new(store))
}

fn system_roots() -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    store
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|e| failed(file, &e))?;
    if found.is_empty() {
        return Err(Error::new(Reason::Tls, format!("{file}: no certificate in it")));
    }
    Ok(found)
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> Error {
    Error::new(Reason::Tls, format!("{what}: {error}"))
}
