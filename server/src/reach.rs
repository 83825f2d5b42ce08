//! Where each instance is and who we are there: its address, its service's user, password and TLS.
//!
//! Invariant: a password goes to the instances of its own service only, data nodes and Sentinels apart;
//! TLS files are looked up in the folder of the service's own tenant, or in the one for all.

use std::collections::BTreeMap;
use std::path::Path;

use model::access::{SHARED, Tls};
use model::inventory::Inventory;
use model::secret::Secret;
use model::service::{InstanceKind, Service};
use model::{InstanceId, TenantId};
use store::{SECRET_REDIS, SECRET_SENTINEL, Store};

/// Folder, in that of all TLS files, of those for every tenant. No tenant has that id.
const SHARED_FOLDER: &str = "_shared";

/// Where to connect for each instance, or why its secret could not be opened.
pub type Targets = BTreeMap<InstanceId, Result<link::Target, String>>;

/// Addresses with the credentials of their services. A secret that cannot be opened keeps its own
/// service from being watched; a store that does not answer is no verdict on any.
pub(crate) async fn targets(
    store: &Store,
    inventory: &Inventory,
    tls_dir: &Path,
) -> store::Result<Targets> {
    let mut targets = Targets::new();
    for service in inventory.services.values() {
        let redis = match service.has_password {
            true => opened(store.secret_of(&service.id, SECRET_REDIS).await)?,
            false => Ok(None),
        };
        let has_sentinels = inventory.sentinels(&service.id).next().is_some();
        let sentinel = match has_sentinels {
            true => opened(store.secret_of(&service.id, SECRET_SENTINEL).await)?,
            false => Ok(None),
        };
        for instance in inventory.of_service(&service.id) {
            let (password, user) = match instance.kind {
                InstanceKind::Redis => (&redis, &service.auth_user),
                InstanceKind::Sentinel => (&sentinel, &service.access.sentinel_user),
            };
            let target = password.clone().map(|password| link::Target {
                address: instance.id.address().to_string(),
                user: user.clone(),
                password,
                tls: tls_of(service, instance.kind, tls_dir),
            });
            targets.insert(instance.id.clone(), target);
        }
    }
    Ok(targets)
}

fn tls_of(service: &Service, kind: InstanceKind, tls_dir: &Path) -> Option<link::Tls> {
    let tls = service.access.tls.as_ref()?;
    let plain = kind == InstanceKind::Sentinel && tls.plain_sentinels;
    (!plain).then(|| tls_files(tls, &service.id.tenant(), tls_dir))
}

/// The settings with their files in place.
pub(crate) fn tls_files(tls: &Tls, tenant: &TenantId, tls_dir: &Path) -> link::Tls {
    let place = |name: &Option<String>| {
        let name = name.as_deref()?;
        let path = match name.strip_prefix(SHARED) {
            Some(shared) => tls_dir.join(SHARED_FOLDER).join(shared),
            None => tls_dir.join(tenant.as_str()).join(name),
        };
        Some(path.display().to_string())
    };
    link::Tls {
        ca_file: place(&tls.ca_file),
        cert_file: place(&tls.cert_file),
        key_file: place(&tls.key_file),
        server_name: tls.server_name.clone(),
        insecure: tls.insecure,
    }
}

type Opened = Result<Option<Secret>, String>;

fn opened(read: store::Result<Option<Secret>>) -> store::Result<Opened> {
    match read {
        Err(e @ store::Error::NotWritable(_)) => Err(e),
        other => Ok(other.map_err(|e| e.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_does_not_answer_is_no_verdict_on_a_secret() {
        let away = opened(Err(store::Error::NotWritable("busy".into())));
        assert!(matches!(away, Err(store::Error::NotWritable(_))), "the reload is tried again");
        let sealed = opened(Err(store::Error::Sealed("no key".into()))).unwrap();
        assert_eq!(sealed.err().as_deref(), Some("sealed: no key"));
        assert!(matches!(opened(Ok(None)), Ok(Ok(None))));
    }

    #[test]
    fn tls_files_lie_in_the_folder_of_the_tenant_or_in_the_one_for_all() {
        let tls = Tls {
            ca_file: Some("shared/ca.pem".into()),
            cert_file: Some("us.pem".into()),
            key_file: Some("us.key".into()),
            ..Tls::default()
        };
        let placed = tls_files(&tls, &"pay".parse().unwrap(), Path::new("/etc/cw"));
        assert_eq!(placed.ca_file.as_deref(), Some("/etc/cw/_shared/ca.pem"));
        assert_eq!(placed.cert_file.as_deref(), Some("/etc/cw/pay/us.pem"));
        assert_eq!(placed.key_file.as_deref(), Some("/etc/cw/pay/us.key"));
        assert!(!model::id::is_slug(SHARED_FOLDER));
    }
}
