//! The colours of the style sheet, measured: text reads in both themes, shapes are seen.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::BTreeMap;

use portal::{CSS_PATH, asset};

fn css() -> String {
    String::from_utf8(asset(CSS_PATH).unwrap().bytes.to_vec()).unwrap()
}

/// Colour tokens of the n-th block that declares them.
fn tokens(css: &str, selector: &str) -> BTreeMap<String, [f64; 3]> {
    let block = css.split(&format!("{selector} {{")).nth(1).unwrap().split('}').next().unwrap();
    let mut out = BTreeMap::new();
    for declaration in block.split(';') {
        let Some((name, value)) = declaration.trim().split_once(": #") else { continue };
        let channel =
            |i: usize| f64::from(u8::from_str_radix(&value[i..i + 2], 16).unwrap()) / 255.0;
        out.insert(name.trim_start_matches("--").to_owned(), [channel(0), channel(2), channel(4)]);
    }
    out
}

/// Contrast ratio of WCAG 2.
fn ratio(a: [f64; 3], b: [f64; 3]) -> f64 {
    let light = |c: [f64; 3]| {
        let linear =
            c.map(|v| if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05
    };
    let (a, b) = (light(a), light(b));
    if a > b { a / b } else { b / a }
}

#[test]
fn every_text_colour_reads_on_every_ground_it_stands_on_in_both_themes() {
    let css = css();
    for theme in [":root", ":root[data-theme=\"dark\"]"] {
        let t = tokens(&css, theme);
        let mut pairs = vec![("on-accent", "accent"), ("card", "crit")];
        for ground in ["bg", "card", "sunk"] {
            pairs.extend(
                ["fg", "muted", "accent", "ok", "warn", "crit", "info", "unknown", "maint"]
                    .map(|f| (f, ground)),
            );
        }
        for look in ["ok", "warn", "crit", "info", "unknown", "maint"] {
            let ground: &str = Box::leak(format!("{look}-bg").into_boxed_str());
            pairs.extend([(look, ground), ("fg", ground), ("muted", ground)]);
        }
        for (fg, bg) in pairs {
            let r = ratio(t[fg], t[bg]);
            assert!(r >= 4.5, "{theme}: {fg} on {bg} is {r:.2}");
        }
    }
}

#[test]
fn the_dark_theme_is_the_same_whether_chosen_or_preferred() {
    let css = css();
    let (chosen, preferred) =
        (tokens(&css, ":root[data-theme=\"dark\"]"), tokens(&css, ":root[data-theme=\"auto\"]"));
    assert!(!chosen.is_empty());
    assert_eq!(chosen, preferred);
    let names = |t: &BTreeMap<String, [f64; 3]>| t.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&tokens(&css, ":root")), names(&chosen), "each theme names every token");
}

#[test]
fn the_style_sheet_fetches_nothing() {
    let css = css();
    assert!(!css.contains("url(") && !css.contains("@import") && !css.contains("@font-face"));
}
