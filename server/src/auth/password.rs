//! Passwords: which are acceptable, how they are hashed and compared.
//!
//! Invariant: two hashes at once, whoever asks; a name nobody has costs the same as one somebody
//! has; a password is never in an error. Refuses to know accounts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use model::secret::Secret;
use serde::Deserialize;
use tokio::sync::Semaphore;

/// Hashes at once: each takes a core for some 20 ms, and two cores have a fleet to watch.
const HASHES_AT_ONCE: usize = 2;
/// Logins of one address that may wait for a hash: a flood waits behind itself.
const WAITING_PER_ADDRESS: u32 = 2;
/// Logins that may wait in all.
const WAITING: usize = 64;
/// Memory of a hash, KiB, and passes: the first choice of the OWASP cheat sheet (19 MiB, 2, 1).
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
/// Longest password looked at: a megabyte of it must not cost a megabyte of hashing.
const PASSWORD_MAX: usize = 256;

/// Which passwords are acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// OWASP ASVS: long, no rules of composition, no forced change.
    #[default]
    Asvs,
}

impl Profile {
    /// Why `password` of `name` is not acceptable.
    pub fn check(self, password: &str, name: &str) -> Result<(), String> {
        const SHORTEST: usize = 15;
        let length = password.chars().count();
        if length < SHORTEST {
            return Err(format!("a password has at least {SHORTEST} characters"));
        }
        if password.len() > PASSWORD_MAX {
            return Err(format!("a password has at most {PASSWORD_MAX} bytes"));
        }
        let first = password.chars().next();
        if password.chars().all(|c| Some(c) == first) {
            return Err("a password is not one character repeated".into());
        }
        if password.to_lowercase().replace(&name.to_lowercase(), "").chars().count() < 8 {
            return Err("a password is more than the name".into());
        }
        Ok(())
    }
}

/// The one place where passwords are hashed.
pub struct Hasher {
    running: Arc<Semaphore>,
    waiting: Semaphore,
    by_address: Mutex<HashMap<String, u32>>,
    dummy: String,
}

/// Too many logins wait already.
#[derive(Debug, PartialEq, Eq)]
pub struct Busy;

impl Default for Hasher {
    fn default() -> Hasher {
        Hasher::new()
    }
}

impl Hasher {
    /// With a hash of its own to compare unknown names against.
    pub fn new() -> Hasher {
        Hasher {
            running: Arc::new(Semaphore::new(HASHES_AT_ONCE)),
            waiting: Semaphore::new(WAITING),
            by_address: Mutex::default(),
            dummy: hash(&Secret::new(super::opaque::fresh())),
        }
    }

    /// Whether `password` is the one behind `phc`; without `phc` the same work is done and the
    /// answer is no.
    pub async fn verify(
        &self,
        address: &str,
        phc: Option<String>,
        password: Secret,
    ) -> Result<bool, Busy> {
        let known = phc.is_some();
        let phc = phc.unwrap_or_else(|| self.dummy.clone());
        let right = self.work(address, move || verify(&phc, &password)).await?;
        Ok(right && known)
    }

    /// The PHC string of a new password.
    pub async fn hash(&self, address: &str, password: Secret) -> Result<String, Busy> {
        self.work(address, move || hash(&password)).await
    }

    async fn work<T: Send + 'static>(
        &self,
        address: &str,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let _place = self.waiting.try_acquire().map_err(|_| Busy)?;
        let _turn = Turn::take(&self.by_address, address)?;
        let permit = self.running.clone().acquire_owned().await.expect("never closed");
        let done = tokio::task::spawn_blocking(move || {
            // Held by the work itself: a caller who goes away does not free the core it uses.
            let _permit = permit;
            job()
        });
        Ok(done.await.expect("hashing does not panic"))
    }
}

struct Turn<'a> {
    map: &'a Mutex<HashMap<String, u32>>,
    address: String,
}

impl<'a> Turn<'a> {
    fn take(map: &'a Mutex<HashMap<String, u32>>, address: &str) -> Result<Turn<'a>, Busy> {
        let mut held = map.lock().expect("no panic while held");
        let n = held.entry(address.to_string()).or_default();
        if *n >= WAITING_PER_ADDRESS {
            return Err(Busy);
        }
        *n += 1;
        Ok(Turn { map, address: address.to_string() })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut held = self.map.lock().expect("no panic while held");
        if let Some(n) = held.get_mut(&self.address) {
            *n -= 1;
            if *n == 0 {
                held.remove(&self.address);
            }
        }
    }
}

fn argon() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).expect("constants within argon2's range");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// The PHC string of `password`.
fn hash(password: &Secret) -> String {
    let mut salt = [0u8; 16];
    getrandom::fill(&mut salt).expect("the operating system gives random bytes");
    let salt = SaltString::encode_b64(&salt).expect("16 bytes are a salt");
    let phc = argon().hash_password(password.reveal().as_bytes(), &salt);
    phc.expect("a password of bounded length hashes").to_string()
}

fn verify(phc: &str, password: &Secret) -> bool {
    let given = password.reveal();
    // What is too long is never right, but costs what a right one costs.
    let text = if given.len() > PASSWORD_MAX { "" } else { given };
    PasswordHash::new(phc)
        .is_ok_and(|known| argon().verify_password(text.as_bytes(), &known).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_long_enough_and_more_than_the_name() {
        let p = Profile::Asvs;
        assert!(p.check("correct horse battery", "ann").is_ok());
        assert!(p.check("short", "ann").is_err());
        assert!(p.check("aaaaaaaaaaaaaaaaaaaa", "ann").is_err());
        assert!(p.check("administrator-1", "administrator").is_err());
        assert!(p.check(&"xy".repeat(200), "ann").is_err());
        assert!(
            p.check("密码必须足够长才可以使用它们呀呢", "ann").is_ok(),
            "characters, not bytes"
        );
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_known_name_verifies() {
        let h = Hasher::new();
        let secret = |t: &str| Secret::new(t.into());
        let phc = h.hash("a", secret("correct horse battery")).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert_eq!(
            h.verify("a", Some(phc.clone()), secret("correct horse battery")).await,
            Ok(true)
        );
        assert_eq!(h.verify("a", Some(phc), secret("wrong horse battery")).await, Ok(false));
        assert_eq!(h.verify("a", None, secret("correct horse battery")).await, Ok(false));
    }

    #[tokio::test]
    async fn a_flood_from_one_address_waits_behind_itself() {
        let h = Hasher::new();
        let _one = Turn::take(&h.by_address, "flood").ok().unwrap();
        let _two = Turn::take(&h.by_address, "flood").ok().unwrap();
        let secret = Secret::new("x".into());
        assert_eq!(h.verify("flood", None, secret.clone()).await, Err(Busy));
        assert_eq!(h.verify("owner", None, secret).await, Ok(false));
    }
}
