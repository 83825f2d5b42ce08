//! Growing delay for wrong logins, per (name, address), and per address against spraying.
//!
//! Invariant: nobody is locked out: the delay is bounded, and a name stays free from every other
//! address. An attempt counts before its password is looked at, so attempts at once do not slip
//! through. Refuses to know passwords and the clock.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;

use model::At;

/// Wrong tries of one name from one address that cost nothing: people mistype.
const FREE: u32 = 3;
/// Wrong tries from one address over all names that cost nothing: an office behind one address.
const FREE_ADDRESS: u32 = 20;
/// Longest delay: long enough to make guessing hopeless, short enough to wait for.
const DELAY_MAX_MS: i64 = 60_000;
/// Longest delay of a whole address, which others may share.
const DELAY_ADDRESS_MAX_MS: i64 = 10_000;
/// Forgotten after this without a wrong try.
const FORGET_MS: i64 = 3_600_000;
/// Pairs remembered: 10 000 names × 100 bytes; beyond it the oldest go.
const PAIRS_MAX: usize = 10_000;

#[derive(Clone, Copy, Default)]
struct Tries {
    wrong: u32,
    last: i64,
    /// A right password was given here before: the address' delay does not apply.
    known: bool,
}

/// The memory of wrong tries. Of this process only: a restart forgives.
#[derive(Default)]
pub struct Backoff(Mutex<HashMap<(String, String), Tries>>);

impl Backoff {
    /// Counts an attempt of `name` from `address` as wrong until `succeeded` is called; answers the
    /// milliseconds to wait when it comes too early (it is not counted then).
    pub fn begin(&self, name: &str, address: &str, now: At) -> Result<(), i64> {
        let mut map = self.0.lock().expect("no panic while held");
        make_room(&mut map, now.ms());
        let place = place(address);
        let pair = (name.to_string(), place.clone());
        let all = (String::new(), place);
        let tries = fresh(&map, &pair, now.ms());
        let whole = fresh(&map, &all, now.ms());
        let mut wait = tries.last + delay(tries.wrong, FREE, DELAY_MAX_MS) - now.ms();
        if !tries.known {
            let shared = delay(whole.wrong, FREE_ADDRESS, DELAY_ADDRESS_MAX_MS);
            wait = wait.max(whole.last + shared - now.ms());
        }
        if wait > 0 {
            return Err(wait);
        }
        for (key, old) in [(pair, tries), (all, whole)] {
            map.insert(key, Tries { wrong: old.wrong.saturating_add(1), last: now.ms(), ..old });
        }
        Ok(())
    }

    /// The attempt was right: forgives the pair, and takes its try off the address.
    pub fn succeeded(&self, name: &str, address: &str, now: At) {
        let mut map = self.0.lock().expect("no panic while held");
        let place = place(address);
        map.insert(
            (name.to_string(), place.clone()),
            Tries { wrong: 0, last: now.ms(), known: true },
        );
        if let Some(whole) = map.get_mut(&(String::new(), place)) {
            whole.wrong = whole.wrong.saturating_sub(1);
        }
    }
}

fn fresh(map: &HashMap<(String, String), Tries>, key: &(String, String), now: i64) -> Tries {
    let tries = map.get(key).copied().unwrap_or_default();
    if now - tries.last > FORGET_MS {
        Tries { known: tries.known, ..Tries::default() }
    } else {
        tries
    }
}

fn delay(wrong: u32, free: u32, max: i64) -> i64 {
    match wrong.checked_sub(free) {
        None => 0,
        Some(over) => (1_000_i64 << over.min(20)).min(max),
    }
}

/// One IPv6 customer has at least a /64 of addresses to try from.
fn place(address: &str) -> String {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) => format!("{:x?}", &v6.segments()[..4]),
        _ => address.to_string(),
    }
}

fn make_room(map: &mut HashMap<(String, String), Tries>, now: i64) {
    if map.len() < PAIRS_MAX {
        return;
    }
    map.retain(|_, t| now - t.last <= FORGET_MS);
    if map.len() < PAIRS_MAX {
        return;
    }
    let mut ages: Vec<i64> = map.values().map(|t| t.last).collect();
    ages.sort_unstable();
    let middle = ages[ages.len() / 2];
    map.retain(|_, t| t.last > middle);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> At {
        At::from_ms(1_000_000_000 + ms)
    }

    #[test]
    fn the_delay_grows_with_each_wrong_try_and_is_bounded() {
        let delays: Vec<i64> = (0..12).map(|n| delay(n, FREE, DELAY_MAX_MS)).collect();
        assert_eq!(
            delays,
            [0, 0, 0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]
        );
    }

    #[test]
    fn a_name_guessed_at_from_one_address_stays_free_from_another() {
        let b = Backoff::default();
        let refused = (0..50).filter(|_| b.begin("root", "10.0.0.1", at(0)).is_err()).count();
        assert_eq!(refused, 47);
        assert_eq!(b.begin("root", "10.0.0.2", at(0)), Ok(()));
        assert_eq!(b.begin("root", "10.0.0.1", at(999)), Err(1));
        assert_eq!(b.begin("root", "10.0.0.1", at(1_000)), Ok(()));
    }

    #[test]
    fn a_right_password_forgives() {
        let b = Backoff::default();
        for _ in 0..3 {
            b.begin("ann", "10.0.0.1", at(0)).unwrap();
        }
        b.succeeded("ann", "10.0.0.1", at(0));
        assert_eq!(b.begin("ann", "10.0.0.1", at(0)), Ok(()));
    }

    #[test]
    fn spraying_names_from_one_address_is_slowed_but_a_known_person_there_is_not() {
        let b = Backoff::default();
        b.begin("ann", "10.0.0.1", at(0)).unwrap();
        b.succeeded("ann", "10.0.0.1", at(0));
        let passed = (0..1_000).filter(|n| b.begin(&format!("u{n}"), "10.0.0.1", at(0)).is_ok());
        assert_eq!(passed.count(), FREE_ADDRESS as usize);
        assert_eq!(b.begin("ann", "10.0.0.1", at(0)), Ok(()));
    }

    #[test]
    fn ten_thousand_names_do_not_grow_the_memory_beyond_its_bound() {
        let b = Backoff::default();
        for n in 0..3 * PAIRS_MAX {
            let _ =
                b.begin(&format!("u{n}"), &format!("10.{}.{}.1", n / 250, n % 250), at(n as i64));
        }
        assert!(b.0.lock().unwrap().len() <= PAIRS_MAX + 1);
    }

    #[test]
    fn addresses_of_one_ipv6_customer_count_as_one() {
        assert_eq!(place("2001:db8:1:2::1"), place("2001:db8:1:2:ffff::9"));
        assert_ne!(place("2001:db8:1:2::1"), place("2001:db8:1:3::1"));
    }
}
