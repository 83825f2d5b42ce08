//! When our own certificates end: that of our port, and those we show to servers.
//!
//! Invariant: files only, never a connection; a file that cannot be read has no end that we know. What
//! servers show is in their readings.

use std::collections::BTreeMap;
use std::path::Path;

use exporter::encode::CertificateEnd;
use model::inventory::Inventory;

use crate::app::App;
use crate::reach::tls_files;

/// All of them, now.
pub(crate) fn ends(app: &App) -> Vec<CertificateEnd> {
    let listener = app.config.http.tls.as_ref().map(|tls| tls.cert_file.as_str());
    read(listener, &app.inventory(), Path::new(&app.config.link.tls_dir))
}

fn read(listener: Option<&str>, inventory: &Inventory, tls_dir: &Path) -> Vec<CertificateEnd> {
    // Many services share a file.
    let mut known: BTreeMap<String, Option<i64>> = BTreeMap::new();
    let mut ends_at = |file: &str| {
        *known.entry(file.to_string()).or_insert_with(|| link::certificate_ends_at(file))
    };
    let mut all = Vec::new();
    if let Some(at) = listener.and_then(&mut ends_at) {
        all.push(CertificateEnd { service: None, ends_at_s: at as f64 });
    }
    for service in inventory.services.values() {
        let tls = service.access.tls.as_ref();
        let file = tls.and_then(|tls| tls_files(tls, &service.id.tenant(), tls_dir).cert_file);
        if let Some(at) = file.and_then(|file| ends_at(&file)) {
            let service = Some(service.id.clone());
            all.push(CertificateEnd { service, ends_at_s: at as f64 });
        }
    }
    all
}
