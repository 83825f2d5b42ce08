//! A small part of Go's template language, enough for annotations: `{{ $labels.x }}`,
//! `{{ $value }}`, pipes and a few functions.
//!
//! Invariant: rendering never fails and never reads anything but labels and value: a template that
//! cannot be rendered becomes a text that says so. No loops, no calls outward, bounded output.

use std::collections::BTreeMap;

/// Longest rendered text; label values are bounded, but a template may repeat them.
const TEXT_MAX: usize = 4096;

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Text(String),
    Number(f64),
    /// `$value` while data is missing.
    Nothing,
}

impl Value {
    fn text(&self) -> String {
        match self {
            Value::Text(t) => t.clone(),
            Value::Number(n) => number(*n),
            Value::Nothing => "no value".into(),
        }
    }
}

/// Renders `template`.
pub fn render(template: &str, labels: &BTreeMap<String, String>, value: Option<f64>) -> String {
    let mut text = match expand(template, labels, value) {
        Ok(text) => text,
        Err(why) => format!("<template error: {why}> {template}"),
    };
    if text.len() > TEXT_MAX {
        let cut = (0..=TEXT_MAX).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        text.truncate(cut);
    }
    text
}

/// Whether a template can be rendered at all.
pub fn check(template: &str) -> Result<(), String> {
    expand(template, &BTreeMap::new(), Some(1.0)).map(|_| ())
}

fn expand(
    template: &str,
    labels: &BTreeMap<String, String>,
    value: Option<f64>,
) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (inside, tail) = after.split_once("}}").ok_or("{{ without }}")?;
        // `{{-` and `-}}` take the blanks beside them away.
        let (left, right) = (inside.starts_with("- "), inside.ends_with(" -"));
        let inside = inside.strip_prefix('-').filter(|_| left).unwrap_or(inside);
        let inside = inside.strip_suffix('-').filter(|_| right).unwrap_or(inside);
        out.push_str(if left { before.trim_end() } else { before });
        out.push_str(&pipeline(inside, labels, value)?.text());
        rest = if right { tail.trim_start() } else { tail };
    }
    out.push_str(rest);
    Ok(out)
}

fn pipeline(
    text: &str,
    labels: &BTreeMap<String, String>,
    value: Option<f64>,
) -> Result<Value, String> {
    let mut piped: Option<Value> = None;
    for command in commands(text)? {
        let (first, rest) = command.split_first().ok_or("an empty command")?;
        let mut args = Vec::new();
        let function = !(first.starts_with(['$', '"', '`']) || first.parse::<f64>().is_ok());
        for word in if function { rest } else { &command[..] } {
            args.push(operand(word, labels, value)?);
        }
        if !function && args.len() > 1 {
            return Err(format!("{first} takes no arguments"));
        }
        args.extend(piped.take());
        piped = Some(match function {
            true => call(first, &args)?,
            false if args.len() == 1 => args.remove(0),
            false => return Err(format!("{first} is no function")),
        });
    }
    piped.ok_or_else(|| "an empty {{ }}".into())
}

/// Words of each command between the pipes; quoted texts stay whole.
fn commands(text: &str) -> Result<Vec<Vec<String>>, String> {
    let mut commands = vec![Vec::new()];
    let mut word = String::new();
    let mut quote: Option<char> = None;
    for c in text.chars().chain([' ']) {
        match quote {
            Some(q) => {
                word.push(c);
                if c == q {
                    quote = None;
                }
            }
            None if c == '"' || c == '`' => {
                word.push(c);
                quote = Some(c);
            }
            None if c == '|' || c.is_whitespace() => {
                if !word.is_empty() {
                    let last = commands.last_mut().expect("starts with one, never shrinks");
                    last.push(std::mem::take(&mut word));
                }
                if c == '|' {
                    commands.push(Vec::new());
                }
            }
            None => word.push(c),
        }
    }
    match quote {
        Some(_) => Err("a text without its closing quote".into()),
        None => Ok(commands),
    }
}

fn operand(
    word: &str,
    labels: &BTreeMap<String, String>,
    value: Option<f64>,
) -> Result<Value, String> {
    if word == "$value" {
        return Ok(value.map_or(Value::Nothing, Value::Number));
    }
    if let Some(name) = word.strip_prefix("$labels.") {
        return Ok(Value::Text(labels.get(name).cloned().unwrap_or_default()));
    }
    let quoted = ['"', '`'].iter().find_map(|q| word.strip_prefix(*q)?.strip_suffix(*q));
    if let Some(text) = quoted {
        return Ok(Value::Text(text.into()));
    }
    let n = word.parse::<f64>().ok();
    n.map(Value::Number).ok_or_else(|| format!("{word} is unknown; expected $labels.x or $value"))
}

fn call(function: &str, args: &[Value]) -> Result<Value, String> {
    if function == "printf" {
        return printf(args).map(Value::Text);
    }
    let text: Option<fn(&str) -> String> = match function {
        "toUpper" => Some(|t| t.to_uppercase()),
        "toLower" => Some(|t| t.to_lowercase()),
        "title" => Some(title),
        _ => None,
    };
    let scale: Option<fn(f64) -> String> = match function {
        "humanize" => Some(humanize),
        "humanize1024" => Some(humanize_1024),
        "humanizeDuration" => Some(humanize_duration),
        "humanizePercentage" => Some(|v| format!("{}%", four(v * 100.0))),
        _ => None,
    };
    if text.is_none() && scale.is_none() {
        return Err(format!("{function} is no function of ours"));
    }
    let [arg] = args else { return Err(format!("{function} takes one argument")) };
    Ok(match (text, scale, arg) {
        (_, _, Value::Nothing) => Value::Nothing,
        (Some(f), _, arg) => Value::Text(f(&arg.text())),
        (_, Some(f), Value::Number(n)) => Value::Text(f(*n)),
        (_, Some(f), arg) => match arg.text().parse() {
            Ok(n) => Value::Text(f(n)),
            Err(_) => return Err(format!("{function} of {:?}, which is no number", arg.text())),
        },
        _ => return Err(format!("{function} is no function of ours")),
    })
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .map(|c| {
            let c = if start { c.to_ascii_uppercase() } else { c };
            start = c.is_whitespace();
            c
        })
        .collect()
}

fn printf(args: &[Value]) -> Result<String, String> {
    let Some((Value::Text(format), mut args)) = args.split_first() else {
        return Err("printf needs a format".into());
    };
    let mut out = String::new();
    let mut rest = format.as_str();
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let end = after.find(|c: char| c.is_ascii_alphabetic() || c == '%');
        let end = end.ok_or("printf: % without a verb")?;
        let (flags, verb) = (&after[..end], &after[end..=end]);
        rest = &after[end + 1..];
        if verb == "%" {
            out.push('%');
            continue;
        }
        let (arg, more) = args.split_first().ok_or("printf: too few arguments")?;
        args = more;
        out.push_str(&one(flags, verb, arg)?);
    }
    out.push_str(rest);
    Ok(out)
}

fn one(flags: &str, verb: &str, arg: &Value) -> Result<String, String> {
    let digits = flags.strip_prefix('.').map(str::parse::<usize>).transpose();
    let digits = digits.map_err(|_| format!("printf: %{flags}{verb} is not supported"))?;
    Ok(match (verb, arg) {
        ("s" | "v", arg) => arg.text(),
        (_, Value::Nothing) => arg.text(),
        ("d", Value::Number(n)) => format!("{n:.0}"),
        ("f", Value::Number(n)) => format!("{n:.*}", digits.unwrap_or(6).min(20)),
        ("g", Value::Number(n)) => match digits {
            Some(digits) => general(*n, digits.clamp(1, 17)),
            None => number(*n),
        },
        _ => return Err(format!("printf: %{flags}{verb} does not take {:?}", arg.text())),
    })
}

fn number(n: f64) -> String {
    if n.is_infinite() {
        return if n > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    format!("{n}")
}

/// C's `%.4g`.
fn four(n: f64) -> String {
    general(n, 4)
}

fn general(n: f64, digits: usize) -> String {
    if n == 0.0 || !n.is_finite() {
        return number(n);
    }
    let scientific = format!("{n:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').expect("Rust prints the exponent");
    let exponent: i32 = exponent.parse().expect("Rust prints a number there");
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    };
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), exponent.abs());
    }
    trim(&format!("{n:.*}", (digits as i32 - 1 - exponent).max(0) as usize))
}

const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

fn small(mut v: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for p in SMALL {
        if v.abs() >= 1.0 {
            break;
        }
        prefix = p;
        v *= 1000.0;
    }
    (v, prefix)
}

fn large<'a>(mut v: f64, base: f64, prefixes: &[&'a str]) -> (f64, &'a str) {
    let mut prefix = "";
    for p in prefixes {
        if v.abs() < base {
            break;
        }
        prefix = p;
        v /= base;
    }
    (v, prefix)
}

fn humanize(v: f64) -> String {
    if v == 0.0 || !v.is_finite() {
        return four(v);
    }
    let (v, prefix) = match v.abs() >= 1.0 {
        true => large(v, 1000.0, &["k", "M", "G", "T", "P", "E", "Z", "Y"]),
        false => small(v),
    };
    format!("{}{prefix}", four(v))
}

fn humanize_1024(v: f64) -> String {
    if v.abs() <= 1.0 || !v.is_finite() {
        return four(v);
    }
    let (v, prefix) = large(v, 1024.0, &["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"]);
    format!("{}{prefix}", four(v))
}

fn humanize_duration(v: f64) -> String {
    if !v.is_finite() {
        return four(v);
    }
    if v.abs() < 1.0 {
        let (v, prefix) = if v == 0.0 { (v, "") } else { small(v) };
        return format!("{}{prefix}s", four(v));
    }
    let sign = if v < 0.0 { "-" } else { "" };
    let all = v.abs() as u64;
    let (days, hours, minutes, seconds) = (all / 86_400, all / 3600 % 24, all / 60 % 60, all % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{}s", four(v)),
        (0, 0, _) => format!("{sign}{minutes}m {seconds}s"),
        (0, _, _) => format!("{sign}{hours}h {minutes}m {seconds}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(template: &str, value: Option<f64>) -> String {
        let labels = [("instance", "pay.cart@h:1"), ("zone", "az-1")];
        let labels = labels.map(|(k, v)| (k.to_string(), v.to_string())).into();
        render(template, &labels, value)
    }

    #[test]
    fn templates_render_as_prometheus_renders_them() {
        for (template, value, said) in [
            ("{{ $labels.instance }} is {{ $value }}", 0.5, "pay.cart@h:1 is 0.5"),
            ("{{$labels.zone|toUpper}}{{ $labels.nope }}.", 0.0, "AZ-1."),
            ("{{ $value | humanizePercentage }}", 0.8666, "86.66%"),
            ("{{ humanize $value }}", 1234567.0, "1.235M"),
            ("{{ $value | humanize }}", 0.0035, "3.5m"),
            ("{{ $value | humanize1024 }}B", 5368709120.0, "5GiB"),
            ("{{ $value | humanizeDuration }}", 93784.0, "1d 2h 3m 4s"),
            ("{{ $value | humanizeDuration }}", 0.25, "250ms"),
            ("{{ printf \"%.2f of %s\" $value $labels.zone }}", 2.0 / 3.0, "0.67 of az-1"),
            ("{{ $value | printf \"%.0f%%\" }}", 41.6, "42%"),
            ("a {{- $value -}} b", 1.0, "a1b"),
        ] {
            assert_eq!(say(template, Some(value)), said, "{template}");
        }
    }

    #[test]
    fn a_template_that_fails_becomes_text() {
        for bad in ["{{ $value", "{{ query \"up\" }}", "{{ $labels.zone | humanize }}", "{{ }}"] {
            let said = say(bad, Some(1.0));
            assert!(said.contains("template error") && said.contains(bad), "{said}");
        }
        assert_eq!(say("{{ $value | humanize }}", None), "no value");
    }

    #[test]
    fn a_template_cannot_grow_without_bound() {
        let long = "{{ $labels.instance }}".repeat(1000);
        assert!(say(&long, None).len() <= TEXT_MAX);
    }
}
