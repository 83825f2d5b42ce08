//! Every page in every language, theme and mood: it renders, it is well-formed, it breaks none of
//! the rules the content security policy and the reader rely on.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod check;
mod sample;

use check::{hostile_survivor, well_formed};
use model::right::{Rights, Role};
use portal::{Error, Frame, Lang, Page, Portal, Theme};
use sample::{MOODS, Mood};
use serde_json::Value;

/// Each page in each mood and language; the theme is one word of the markup, so it takes turns.
fn every(mut look: impl FnMut(Page, Mood, Lang, Theme)) {
    let mut themes = Theme::ALL.into_iter().cycle();
    for page in Page::ALL {
        for mood in MOODS {
            for lang in Lang::ALL {
                look(page, mood, lang, themes.next().unwrap());
            }
        }
    }
}

fn html(portal: &Portal, page: Page, mood: Mood, lang: Lang, theme: Theme, text: &str) -> String {
    let frame = sample::frame(lang, theme, page, mood);
    portal
        .page(page, &sample::value(page, mood, text), &frame)
        .unwrap_or_else(|e| panic!("{} {mood:?}: {e}", page.id()))
}

#[test]
fn every_page_renders_well_formed_in_each_language_theme_and_mood() {
    let portal = Portal::new();
    every(|page, mood, lang, theme| {
        let html = html(&portal, page, mood, lang, theme, "");
        let at = format!("{} {mood:?} {lang:?} {theme:?}", page.id());
        well_formed(&html).unwrap_or_else(|e| panic!("{at}: {e}"));
        assert!(
            html.contains(&format!(
                "<html lang=\"{}\" data-theme=\"{}\"",
                lang.as_str(),
                theme.as_str()
            )),
            "{at}"
        );
        assert_eq!(html.matches("<h1").count().min(1), 1, "{at}: a page has a heading");
    });
}

#[test]
fn no_page_needs_what_the_content_security_policy_refuses() {
    let portal = Portal::new();
    every(|page, mood, lang, theme| {
        let html = html(&portal, page, mood, lang, theme, "").to_lowercase();
        for refused in
            ["style=", "<style", "<script", " onclick", " onload", " onerror", "javascript:"]
        {
            assert!(!html.contains(refused), "{} {mood:?}: {refused}", page.id());
        }
    });
}

#[test]
fn hostile_text_stays_text_wherever_a_server_or_a_person_may_write() {
    let portal = Portal::new();
    for text in [
        "<img src=x onerror=alert(1)>",
        "\"><script>alert(1)</script>",
        "' autofocus onfocus='alert(1)",
        "</title></svg></textarea><b>客户</b>",
        "{{f.csrf}}",
    ] {
        every(|page, mood, lang, theme| {
            let html = html(&portal, page, mood, lang, theme, text);
            let at = format!("{} {mood:?}: {text}", page.id());
            well_formed(&html).unwrap_or_else(|e| panic!("{at}: {e}"));
            if let Some(found) = hostile_survivor(&html) {
                panic!("{at}: {found}");
            }
        });
    }
}

#[test]
fn hostile_text_in_the_frame_and_the_address_stays_text() {
    let portal = Portal::new();
    let bad = "\"><img src=x onerror=alert(1)>";
    let frame = Frame {
        query: format!("q={bad}&sort={bad}&in={bad}"),
        path: format!("//evil.example/{bad}"),
        me: Some(bad.into()),
        csrf: bad.into(),
        env_badge: bad.into(),
        request_id: bad.into(),
        notices: vec![bad.into()],
        version: bad.into(),
        zone: bad.into(),
        ..sample::frame(Lang::En, Theme::Auto, Page::Services, Mood::Trouble)
    };
    for page in Page::ALL {
        let html = portal.page(page, &sample::value(page, Mood::Trouble, bad), &frame).unwrap();
        well_formed(&html).unwrap_or_else(|e| panic!("{}: {e}", page.id()));
        assert_eq!(hostile_survivor(&html), None, "{}", page.id());
        assert!(!html.contains("href=\"//evil"), "{}", page.id());
    }
}

#[test]
fn the_same_value_gives_the_same_bytes() {
    let (a, b) = (Portal::new(), Portal::new());
    every(|page, mood, lang, theme| {
        assert_eq!(html(&a, page, mood, lang, theme, "x"), html(&b, page, mood, lang, theme, "x"));
    });
}

/// Fields that may be absent: what they hold may be null.
const NULLABLE: [&str; 36] = [
    "approvals",
    "approvable",
    "pausable",
    "resumable",
    "answer",
    "zone_risk",
    "asked",
    "coverage",
    "overrides",
    "policy",
    "present",
    "raw",
    "score",
    "ack",
    "hold",
    "to",
    "next",
    "error",
    "health",
    "score_before",
    "ops_per_s",
    "alert",
    "operation",
    "id",
    "test",
    "preview",
    "backtest",
    "check",
    "instance",
    "evacuated",
    "rows",
    "firing",
    "kill_switch",
    "memory_used_bytes",
    "memory_max_bytes",
    "waits_with",
];

#[test]
fn while_the_store_is_away_nothing_is_called_fine_and_no_zero_is_shown_for_what_is_not_known() {
    let portal = Portal::new();
    let frame = sample::frame(Lang::En, Theme::Light, Page::Overview, Mood::Fine);
    let mut value = sample::value(Page::Overview, Mood::Fine, "");
    let known = portal.page(Page::Overview, &value, &frame).unwrap();
    assert!(known.contains("Nothing is firing") && known.contains("Nobody needs to"));
    for field in ["firing", "kill_switch"] {
        value[field] = Value::Null;
    }
    for field in ["alerts", "operations", "changes"] {
        value[field] = serde_json::json!([]);
    }
    let away = portal.page(Page::Overview, &value, &frame).unwrap();
    for claim in ["Nothing is firing", "Nobody needs to", "No operation is running"] {
        assert!(!away.contains(claim), "{claim}");
    }
    assert!(away.contains("the store is not available"));
}

#[test]
fn a_missing_field_is_an_error_and_not_an_empty_place() {
    let portal = Portal::new();
    let mut empty_places = Vec::new();
    for page in Page::ALL {
        let frame = sample::frame(Lang::En, Theme::Light, page, Mood::Trouble);
        let whole = sample::value(page, Mood::Trouble, "");
        for field in whole.as_object().unwrap().keys() {
            let mut value = whole.clone();
            value.as_object_mut().unwrap().remove(field);
            let drawn = portal.page(page, &value, &frame).is_ok();
            if drawn && !NULLABLE.contains(&field.as_str()) {
                empty_places.push(format!("{} without {field}", page.id()));
            }
        }
        assert!(portal.page(page, &Value::Null, &frame).is_err(), "{} from null", page.id());
    }
    assert_eq!(empty_places, Vec::<String>::new());
}

#[test]
fn a_page_with_a_form_to_fill_never_reloads_itself() {
    let portal = Portal::new();
    let refresh = |page: Page, rights: Rights| {
        let frame = Frame {
            live_s: Some(15),
            rights,
            ..sample::frame(Lang::En, Theme::Auto, page, Mood::Trouble)
        };
        let html = portal.page(page, &sample::value(page, Mood::Trouble, ""), &frame).unwrap();
        html.contains("http-equiv=\"refresh\" content=\"15\"")
    };
    for page in Page::ALL {
        let fills = matches!(
            page,
            Page::Login | Page::Plan | Page::Item | Page::Error | Page::Incidents | Page::Health
        );
        let fills = fills || matches!(page, Page::ScorePolicies | Page::ScorePolicy);
        let fills = fills || matches!(page, Page::Policies | Page::Policy | Page::AlertQuality);
        let fills = fills || matches!(page, Page::Parameters | Page::Console);
        // Where somebody may have to say why he agrees.
        let fills = fills || page == Page::Incident;
        // Nothing of the manual changes.
        let fills = fills || matches!(page, Page::Docs | Page::Doc);
        let fills = fills || matches!(page, Page::Alert | Page::AlertHistory);
        let fills = fills || matches!(page, Page::Silences | Page::Maintenance);
        assert_eq!(refresh(page, Role::Operator.rights()), !fills, "{}", page.id());
    }
    assert!(refresh(Page::Incidents, Role::Reader.rights()), "without the switch it may");
}

#[test]
fn without_the_right_there_is_no_form_for_it() {
    let portal = Portal::new();
    let with = |page: Page, mood: Mood, rights: Rights| {
        let frame = Frame { rights, ..sample::frame(Lang::En, Theme::Auto, page, mood) };
        portal.page(page, &sample::value(page, mood, ""), &frame).unwrap()
    };
    for (page, mood, action) in [
        (Page::Plan, Mood::Fine, "action=\"/operations\""),
        (Page::Operation, Mood::Trouble, "/cancel\""),
        (Page::Incidents, Mood::Trouble, "action=\"/kill-switch\""),
        (Page::ScorePolicy, Mood::Trouble, "action=\"/score-policies/preview\""),
        (Page::Policy, Mood::Trouble, "action=\"/policies/check\""),
        (Page::Policy, Mood::Trouble, "/retire\""),
    ] {
        assert!(with(page, mood, Role::Operator.rights()).contains(action), "{action}");
        assert!(!with(page, mood, Role::Reader.rights()).contains(action), "{action}");
    }
}

#[test]
fn every_form_that_changes_something_carries_the_session_token() {
    let portal = Portal::new();
    every(|page, mood, lang, theme| {
        let html = html(&portal, page, mood, lang, theme, "");
        for form in html.split("<form").skip(1) {
            let form = form.split("</form>").next().unwrap();
            let changes = form.contains("method=\"post\"");
            assert_eq!(
                changes,
                form.contains("name=\"csrf\" value=\"c5rf-t0ken\""),
                "{}",
                page.id()
            );
        }
    });
}

#[test]
fn a_plan_that_failed_or_expired_offers_no_start() {
    let portal = Portal::new();
    for mood in [Mood::Blind, Mood::Empty] {
        let html = html(&portal, Page::Plan, mood, Lang::En, Theme::Auto, "");
        assert!(!html.contains("name=\"confirm\""), "{mood:?}");
        assert!(html.contains("action=\"/operations/plans\""), "{mood:?}");
    }
}

#[test]
fn an_unknown_fleet_shows_no_zero_and_nothing_fine() {
    let portal = Portal::new();
    let html = html(&portal, Page::Overview, Mood::Blind, Lang::En, Theme::Light, "");
    let main = html.split("<main").nth(1).unwrap();
    for lie in ["k-ok", ">0 up", ">0 B<", ">0 %<"] {
        assert!(!main.contains(lie), "{lie}");
    }
    assert!(main.contains("class=\"na\"") && main.contains("ring-unknown"));
}

#[test]
fn a_fragment_is_the_same_markup_as_in_its_page() {
    let portal = Portal::new();
    for (name, page) in
        [("overview", Page::Overview), ("alerts", Page::Alerts), ("operation", Page::Operation)]
    {
        for mood in MOODS {
            let frame = sample::frame(Lang::ZhCn, Theme::Dark, page, mood);
            let value = sample::value(page, mood, "");
            let part = portal.part(name, &value, &frame).unwrap();
            assert!(
                portal.page(page, &value, &frame).unwrap().contains(part.trim()),
                "{name} {mood:?}"
            );
        }
    }
    let frame = Frame::default();
    assert!(matches!(portal.part("nothing", &Value::Null, &frame), Err(Error::NoPart(_))));
}

#[test]
fn ids_are_unique_and_every_field_has_a_label() {
    let portal = Portal::new();
    every(|page, mood, lang, theme| {
        let html = html(&portal, page, mood, lang, theme, "");
        let mut ids: Vec<&str> =
            html.split(" id=\"").skip(1).filter_map(|r| r.split('"').next()).collect();
        let n = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), n, "{}: an id twice", page.id());
        for input in html.split("<input").skip(1).filter(|i| !i.starts_with(" type=\"hidden\"")) {
            let tag = input.split('>').next().unwrap();
            let before = &html[..html.find(tag).unwrap()];
            let labelled = tag.contains("aria-label=")
                || before.matches("<label").count() > before.matches("</label>").count();
            assert!(labelled, "{}: {tag}", page.id());
        }
    });
}
