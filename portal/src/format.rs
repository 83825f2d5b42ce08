//! Numbers, sizes, spans and times as people read them.
//!
//! Invariant: never more digits than mean something, the same width for the same magnitude, nothing
//! invented: what is not finite is not a number and has no text here.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use model::At;

use crate::words::Voice;

/// Integer part with a thin grouping comma, `decimals` digits after the point.
pub(crate) fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut out = String::with_capacity(text.len() + 4);
    if value < 0.0 && text.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
        out.push('−');
    }
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// A count or rate: `0.8`, `8,431`, `124 k`, `3.2 M`.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 9_999_500.0 {
        return format!("{} M", grouped(value / 1e6, 1));
    }
    if size >= 99_950.0 {
        return format!("{} k", grouped(value / 1e3, 0));
    }
    let whole = (value - value.round()).abs() < 0.005;
    grouped(
        value,
        if whole || size >= 100.0 {
            0
        } else if size >= 10.0 {
            1
        } else {
            2
        },
    )
}

/// A ratio 0..1 as percent: `0.4 %`, `88 %`. Never rounds up to 100 or down to 0.
pub(crate) fn percent(ratio: f64) -> String {
    let p = ratio * 100.0;
    let text = if p.abs() < 9.95 && (p - p.round()).abs() >= 0.05 {
        grouped(p, 1)
    } else if (99.5..100.0).contains(&p) {
        grouped((p * 10.0).floor() / 10.0, 1)
    } else {
        grouped(p, 0)
    };
    format!("{text} %")
}

/// Bytes with a binary unit and three digits: `512 B`, `8.80 GiB`.
pub(crate) fn bytes(value: f64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut size, mut unit) = (value, 0);
    while size.abs() >= 999.5 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    let decimals = match size.abs() {
        _ if unit == 0 => 0,
        s if s >= 99.95 => 0,
        s if s >= 9.995 => 1,
        _ => 2,
    };
    format!("{} {}", grouped(size, decimals), UNITS[unit])
}

/// A score in hundredths: `72.06`, `100`.
pub(crate) fn score(value: f64) -> String {
    if value >= 100.0 { "100".into() } else { format!("{value:.2}") }
}

/// Points of a waterfall, signed: `−13.00`, `+2.00`.
pub(crate) fn signed(value: f64) -> String {
    let sign = if value > 0.0 { "+" } else { "" };
    format!("{sign}{}", grouped(value, 2))
}

/// A span in its two largest units: `450 ms`, `12.3 s`, `4 min 05 s`, `2 d 4 h`.
pub(crate) fn span(voice: Voice<'_>, ms: i64) -> String {
    let ms = ms.max(0);
    let (s, min, h, d) = (ms / 1000, ms / 60_000, ms / 3_600_000, ms / 86_400_000);
    let two = |key: &str, a: i64, b: i64| {
        voice.say(key, &[("a", a.to_string().into()), ("b", b.to_string().into())])
    };
    let one = |key: &str, a: String| voice.say(key, &[("a", a.into())]);
    match () {
        () if ms < 1000 => one("span-ms", ms.to_string()),
        () if s < 10 && ms % 1000 != 0 => one("span-s", format!("{:.1}", ms as f64 / 1000.0)),
        () if s < 60 => one("span-s", s.to_string()),
        () if h < 1 && s % 60 != 0 && min < 10 => two("span-min-s", min, s % 60),
        () if h < 1 => one("span-min", min.to_string()),
        () if d < 1 && min % 60 != 0 => two("span-h-min", h, min % 60),
        () if d < 1 => one("span-h", h.to_string()),
        () if h % 24 != 0 && d < 10 => two("span-d-h", d, h % 24),
        () => one("span-d", d.to_string()),
    }
}

/// `4 min ago`; what lies in the future (clocks differ) is `now`.
pub(crate) fn ago(voice: Voice<'_>, now: At, at: At) -> String {
    let ms = now.since_ms(at);
    if ms < 1000 {
        return voice.say("ago-now", &[]);
    }
    // A second more or less says nothing about what is hours old.
    let rounded = if ms >= 600_000 { ms / 60_000 * 60_000 } else { ms / 1000 * 1000 };
    voice.say("ago", &[("span", span(voice, rounded).into())])
}

/// The zone, or UTC when this machine does not know it.
pub(crate) fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

/// `08:26:40` today, `11-22 08:26` this year, `2025-11-22 08:26` otherwise, in `zone`.
pub(crate) fn clock(at: At, now: At, zone: &TimeZone) -> String {
    let civil = |t: At| Timestamp::from_millisecond(t.ms()).ok().map(|t| t.to_zoned(zone.clone()));
    let (Some(then), Some(today)) = (civil(at), civil(now)) else { return "–".into() };
    let form = if then.date() == today.date() {
        "%H:%M:%S"
    } else if then.year() == today.year() {
        "%m-%d %H:%M"
    } else {
        "%Y-%m-%d %H:%M"
    };
    then.strftime(form).to_string()
}

/// `2025-11-22 08:26:40 UTC`, for tooltips and machines.
pub(crate) fn utc(at: At) -> String {
    match Timestamp::from_millisecond(at.ms()) {
        Ok(t) => t.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => "–".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Lang;
    use crate::words::Words;

    #[test]
    fn numbers_keep_the_digits_that_mean_something() {
        let cases = [
            (0.0, "0"),
            (0.8, "0.80"),
            (12.34, "12.3"),
            (8431.2, "8,431"),
            (-1234.0, "−1,234"),
            (124_300.0, "124 k"),
            (31_200_000.0, "31.2 M"),
            (99.999, "100"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_percentage_never_rounds_up_to_full() {
        let cases = [
            (0.0, "0 %"),
            (0.004, "0.4 %"),
            (0.88, "88 %"),
            (0.9997, "99.9 %"),
            (1.0, "100 %"),
            (1.2, "120 %"),
        ];
        for (value, text) in cases {
            assert_eq!(percent(value), text);
        }
    }

    #[test]
    fn sizes_have_three_digits() {
        let cases = [
            (512.0, "512 B"),
            (1024.0, "1.00 KiB"),
            (9_448_928_051.0, "8.80 GiB"),
            (1_072_668_082.0, "1.00 GiB"),
        ];
        for (value, text) in cases {
            assert_eq!(bytes(value), text);
        }
    }

    #[test]
    fn spans_show_two_units_at_most_in_both_languages() {
        let words = Words::new();
        let en = Voice { words: &words, lang: Lang::En };
        let cases = [
            (450, "450 ms"),
            (2_400, "2.4 s"),
            (12_300, "12 s"),
            (245_000, "4 min 5 s"),
            (3_600_000, "1 h"),
            (187_000_000, "2 d 3 h"),
            (-5, "0 ms"),
        ];
        for (ms, text) in cases {
            assert_eq!(span(en, ms), text);
        }
        let zh = Voice { words: &words, lang: Lang::ZhCn };
        assert_eq!(span(zh, 245_000), "4 分 5 秒");
        assert_eq!(ago(zh, At::from_ms(245_000), At::EPOCH), "4 分 5 秒前");
    }

    #[test]
    fn a_time_is_shown_in_its_zone_and_an_unknown_zone_is_utc() {
        let at = At::from_ms(1_763_800_000_123);
        assert_eq!(clock(at, at, &zone("UTC")), "08:26:40");
        assert_eq!(clock(at, at + 86_400_000, &zone("Nowhere/At_All")), "11-22 08:26");
        assert_eq!(clock(at, At::EPOCH, &zone("Asia/Shanghai")), "2025-11-22 16:26");
        assert_eq!(utc(at), "2025-11-22 08:26:40 UTC");
    }
}
