//! What surrounds a page: who looks, in which language, zone and theme, and what he may do.
//!
//! Invariant: menus and forms are drawn from rights only; the API enforces them again. Refuses to
//! know sessions, cookies and requests: `server` fills a `Frame` from them.

use model::At;
use model::right::{Right, Rights};
use serde_json::{Value, json};

use crate::asset::CSS_PATH;
use crate::config::Support;
use crate::link;
use crate::page::Page;

/// Language of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Lang {
    /// English, the source.
    #[default]
    En,
    /// Simplified Chinese.
    ZhCn,
}

impl Lang {
    /// Both, in the order of the menu.
    pub const ALL: [Lang; 2] = [Lang::En, Lang::ZhCn];

    /// BCP 47 tag: `en`, `zh-CN`.
    pub fn as_str(self) -> &'static str {
        match self {
            Lang::En => "en",
            Lang::ZhCn => "zh-CN",
        }
    }
    /// From a tag; `zh`, `zh-Hans` and the like count as Simplified Chinese.
    pub fn parse(text: &str) -> Option<Lang> {
        let primary = text.split(['-', '_']).next().unwrap_or_default();
        match primary.to_ascii_lowercase().as_str() {
            "en" => Some(Lang::En),
            "zh" => Some(Lang::ZhCn),
            _ => None,
        }
    }
}

/// Colours of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Theme {
    /// As the system prefers.
    #[default]
    Auto,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// All, in the order of the menu.
    pub const ALL: [Theme; 3] = [Theme::Auto, Theme::Light, Theme::Dark];

    /// As in `?theme=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Theme::Auto => "auto",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }
    /// From its word.
    pub fn parse(text: &str) -> Option<Theme> {
        Theme::ALL.into_iter().find(|t| t.as_str() == text)
    }
}

/// Everything around a page's value.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Language.
    pub lang: Lang,
    /// Colours.
    pub theme: Theme,
    /// IANA time zone of the times shown; an unknown one is shown as UTC.
    pub zone: String,
    /// The present.
    pub now: At,
    /// Path of the page.
    pub path: String,
    /// Raw query without `?`.
    pub query: String,
    /// Name of the signed-in person; `None`: nobody.
    pub me: Option<String>,
    /// What he may do somewhere.
    pub rights: Rights,
    /// Token every form carries.
    pub csrf: String,
    /// Chosen refresh in seconds (15 or 60); `None`: off.
    pub live_s: Option<u32>,
    /// When the values were read; `None`: not shown.
    pub as_of: Option<At>,
    /// Word of the environment (`PROD`), empty: none.
    pub env_badge: String,
    /// Firing alerts, for the badge in the menu.
    pub firing: u32,
    /// Whether the kill switch is on.
    pub kill_switch: bool,
    /// Id of the request, shown in the foot.
    pub request_id: String,
    /// Notices about our own state (store read-only, history missing …).
    pub notices: Vec<String>,
    /// Version of the program.
    pub version: String,
    /// Support contacts of the installation.
    pub support: Support,
}

impl Default for Frame {
    fn default() -> Frame {
        Frame {
            lang: Lang::En,
            theme: Theme::Auto,
            zone: "UTC".into(),
            now: At::EPOCH,
            path: "/".into(),
            query: String::new(),
            me: None,
            rights: Rights::NONE,
            csrf: String::new(),
            live_s: None,
            as_of: None,
            env_badge: String::new(),
            firing: 0,
            kill_switch: false,
            request_id: String::new(),
            notices: Vec::new(),
            version: String::new(),
            support: Support::default(),
        }
    }
}

/// Entries of the menu: id (also key and icon), path.
const NAV: [(&str, &str); 8] = [
    ("overview", "/overview"),
    ("services", "/services"),
    ("alerts", "/alerts"),
    ("incidents", "/incidents"),
    ("operations", "/operations"),
    ("items", "/items"),
    ("score-policies", "/score-policies"),
    ("docs", "/docs"),
];

/// Offered refresh periods in seconds; 0 = off.
const REFRESH_S: [u32; 3] = [0, 15, 60];

impl Frame {
    /// The value templates see as `f`.
    pub(crate) fn value(&self, page: Page) -> Value {
        let (base, query) = match (page, self.path.as_str()) {
            _ if page.is_answer_to_a_post() => ("/overview", ""),
            // A definition that was checked or tested, but not saved, has no address either.
            (Page::Item, "/items" | "/items/check" | "/items/test") => ("/items", ""),
            (Page::ScorePolicy, "/score-policies" | "/score-policies/preview") => {
                ("/score-policies", "")
            }
            (Page::Policy, "/policies" | "/policies/check" | "/policies/backtest") => {
                ("/policies", "")
            }
            (_, path) => (path, self.query.as_str()),
        };
        let refresh = if page.refreshes(self) { self.live_s } else { None };
        json!({
            "template": page.template(),
            "page": page.id(),
            "lang": self.lang.as_str(),
            "theme": self.theme.as_str(),
            "zone": self.zone,
            "now_ms": self.now.ms(),
            "path": base,
            "query": query,
            "me": self.me,
            "csrf": self.csrf,
            "as_of": self.as_of,
            "env_badge": self.env_badge,
            "firing": self.firing,
            "kill_switch": self.kill_switch,
            "request_id": self.request_id,
            "notices": self.notices,
            "version": self.version,
            "support": { "mail": self.support.mail, "url": self.support.url },
            "css": CSS_PATH,
            "refresh": refresh,
            "refreshes": page.refreshes(self) && self.me.is_some(),
            "refresh_links": self.refresh_links(refresh, base, query),
            "langs": self.lang_links(base, query),
            "themes": self.theme_links(base, query),
            "nav": self.nav(page),
            "may": {
                "read": self.rights.has(Right::FleetRead),
                "plan": self.rights.has(Right::OpPlan),
                "start": self.rights.has(Right::OpLow) || self.rights.has(Right::OpDisrupt),
                "cancel": self.rights.has(Right::OpCancel),
                "console": self.rights.has(Right::ConsoleRead),
                "approve": self.rights.has(Right::OpApprove),
                "kill": self.rights.has(Right::RunbookLower),
                "item": self.rights.has(Right::ItemEdit),
                "draft": self.rights.has(Right::PolicyDraft) || self.rights.has(Right::PolicyPublish),
                "publish": self.rights.has(Right::PolicyPublish),
                "sign": self.rights.has(Right::SystemAdmin),
                "ack": self.rights.has(Right::AlertAck),
                "silence": self.rights.has(Right::SilenceEdit),
                "maintain": self.rights.has(Right::MaintenanceEdit),
                "calendar": self.rights.has(Right::CalendarEdit),
            },
        })
    }

    fn nav(&self, page: Page) -> Vec<Value> {
        if self.me.is_none() {
            return Vec::new();
        }
        let badge = |id: &str| if id == "alerts" { self.firing } else { 0 };
        NAV.iter()
            .map(|(id, href)| {
                json!({ "id": id, "href": href, "here": page.nav() == *id, "badge": badge(id) })
            })
            .collect()
    }

    fn refresh_links(&self, chosen: Option<u32>, path: &str, query: &str) -> Vec<Value> {
        REFRESH_S
            .iter()
            .map(|s| {
                let text = s.to_string();
                let value = (*s > 0).then_some(text.as_str());
                json!({
                    "s": s,
                    "here": chosen.unwrap_or(0) == *s,
                    "href": link::with(path, query, "live", value),
                })
            })
            .collect()
    }

    fn lang_links(&self, path: &str, query: &str) -> Vec<Value> {
        let one = |l: Lang| {
            json!({
                "tag": l.as_str(), "here": l == self.lang,
                "href": link::with(path, query, "lang", Some(l.as_str())),
            })
        };
        Lang::ALL.into_iter().map(one).collect()
    }

    fn theme_links(&self, path: &str, query: &str) -> Vec<Value> {
        let one = |t: Theme| {
            json!({
                "id": t.as_str(), "here": t == self.theme,
                "href": link::with(path, query, "theme", Some(t.as_str())),
            })
        };
        Theme::ALL.into_iter().map(one).collect()
    }
}
