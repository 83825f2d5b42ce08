//! Who may read metrics and discovery: an allowed network, or a token with `metrics.scrape`, whose
//! scope filters the page.
//!
//! Invariant: an address counts only when nobody may have put it there: a request that came through
//! a proxy, or to a name that is not ours, needs a token.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HOST};
use model::InstanceId;
use model::caller::Caller;
use model::code::{Code, Problem};
use model::inventory::Inventory;
use model::right::{Place, Right};

use crate::app::App;
use crate::auth;
use crate::config::Http;

/// Headers a proxy adds.
const FORWARDING: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// What the reader may see: everything, or what his scopes cover.
#[derive(Clone)]
pub(super) struct Reader(Option<Caller>);

impl Reader {
    /// Whether he sees all there is.
    pub(super) fn sees_all(&self) -> bool {
        self.0.as_ref().is_none_or(|c| c.may(Right::MetricsScrape, &Place::platform()))
    }

    /// Whether he sees this instance.
    pub(super) fn sees(&self, inventory: &Inventory, id: &InstanceId) -> bool {
        let Some(caller) = &self.0 else { return true };
        let place = inventory.owner(id).map(|(s, system)| Place::service(&s.id, &system.id));
        place.is_some_and(|place| caller.may(Right::MetricsScrape, &place))
    }

    /// The part of the tree he sees.
    pub(super) fn cut(&self, inventory: &Inventory) -> Inventory {
        let mut part = inventory.clone();
        part.instances.retain(|id, _| self.sees(inventory, id));
        part.services.retain(|id, service| {
            let place = Place::service(id, &service.system);
            self.0.as_ref().is_none_or(|c| c.may(Right::MetricsScrape, &place))
        });
        part.systems.retain(|id, _| part.services.values().any(|s| s.system == *id));
        part.tenants.retain(|id, _| part.services.keys().any(|s| s.tenant() == *id));
        part
    }
}

/// Lets the reader in, or says why not.
pub(super) async fn reader(
    app: &App,
    headers: &HeaderMap,
    peer: SocketAddr,
) -> Result<Reader, Problem> {
    let near = is_allowed(&app.config.http, headers, peer.ip());
    if near && names_us(&app.config.http, headers) {
        return Ok(Reader(None));
    }
    let (caller, _) = match auth::caller(app, headers, peer.ip()).await {
        Err(_) if near && !headers.contains_key(AUTHORIZATION) => return Err(another_name()),
        other => other?,
    };
    if caller.may_somewhere(Right::MetricsScrape) {
        return Ok(Reader(Some(caller)));
    }
    Err(Problem::new(
        Code::RightMissing,
        "the right metrics.scrape is missing",
        "Use a scrape token (cachewarden token create --kind scrape), or add this network to \
         http.metrics_allow.",
    ))
}

fn is_allowed(http: &Http, headers: &HeaderMap, peer: IpAddr) -> bool {
    if FORWARDING.iter().any(|name| headers.contains_key(*name)) {
        return false;
    }
    // With a proxy on this machine every request comes from loopback.
    if peer.to_canonical().is_loopback() && !http.trusted_proxies.is_empty() {
        return false;
    }
    http.metrics_allow.iter().any(|network| network.covers(peer))
}

/// Whether the request was addressed to us by a name that is ours. A page of somebody else can point
/// a name of its own at this address and have a browser of our network read for it: such a request
/// carries that name. An address, a name without a dot or of this machine belongs to no stranger.
fn names_us(http: &Http, headers: &HeaderMap) -> bool {
    // HTTP/2 has none; browsers speak it by TLS only, where the certificate guards the name.
    let Some(host) = headers.get(HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let Ok(asked) = reqwest::Url::parse(&format!("http://{host}/")) else { return false };
    let public = reqwest::Url::parse(&http.public_url).ok();
    let Some(name) = asked.host_str() else { return false };
    let literal = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    literal
        || !name.contains('.')
        || name.ends_with(".localhost")
        || public.is_some_and(|p| p.host_str() == Some(name))
}

fn another_name() -> Problem {
    Problem::new(
        Code::RightMissing,
        "this address may read without a token, but not under a name that is not ours",
        "Ask by IP address or by the host of http.public_url, or use a scrape token.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_counts_only_without_a_proxy_anywhere() {
        let plain = Http::default();
        let behind =
            Http { trusted_proxies: vec!["127.0.0.1".parse().unwrap()], ..Http::default() };
        let wide = Http { metrics_allow: vec!["10.0.0.0/8".parse().unwrap()], ..Http::default() };
        let none = HeaderMap::new();
        let mut forwarded = HeaderMap::new();
        forwarded.insert("x-forwarded-for", "127.0.0.1".parse().unwrap());
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:10.1.2.3".parse().unwrap();
        for (http, headers, peer, wanted) in [
            (&plain, &none, local, true),
            (&plain, &forwarded, local, false),
            (&plain, &none, mapped, false),
            (&behind, &none, local, false),
            (&wide, &none, mapped, true),
            (&wide, &forwarded, mapped, false),
            (&wide, &none, local, false),
        ] {
            assert_eq!(is_allowed(http, headers, peer), wanted, "{http:?} {headers:?} {peer}");
        }
    }

    #[test]
    fn a_browser_sent_by_another_name_does_not_read_for_a_stranger() {
        let http = Http { public_url: "https://cw.example.org/".into(), ..Http::default() };
        let asked = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            names_us(&http, &headers)
        };
        for ours in [
            "127.0.0.1:9850",
            "[::1]:9850",
            "10.1.2.3",
            "localhost:9850",
            "cachewarden:9850",
            "CW.example.org",
            "cw.example.org:443",
        ] {
            assert!(asked(ours), "{ours}");
        }
        for strange in
            ["evil.example:9850", "cw.example.org.evil.example", "127.0.0.1.evil.example", "a b"]
        {
            assert!(!asked(strange), "{strange}");
        }
        assert!(names_us(&http, &HeaderMap::new()));
    }
}
