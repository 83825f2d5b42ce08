//! Helpers that answer plain text or a value; the engine escapes what they answer.

use serde_json::Value;

use super::{Args, Failed, TextFn, kind};
use crate::{format, link};

pub(super) const ALL: &[(&str, TextFn)] = &[
    ("t", t),
    ("said", |a| Ok(crate::sentences::said(a.voice.lang, &plain_text(a.value(0)?)).into())),
    ("word", word),
    ("kind", kind_of),
    ("number", |a| Ok(or_dash(a.number(0)?.map(format::number)))),
    ("bytes", |a| Ok(or_dash(a.number(0)?.map(format::bytes)))),
    ("percent", |a| Ok(or_dash(a.number(0)?.map(format::percent)))),
    ("points", |a| Ok(or_dash(a.number(0)?.map(format::signed)))),
    ("score", |a| Ok(or_dash(a.number(0)?.map(format::score)))),
    ("span", |a| Ok(or_dash(a.number(0)?.map(|ms| format::span(a.voice, ms as i64))))),
    ("ago", |a| Ok(or_dash(a.at(0)?.map(|at| format::ago(a.voice, a.now(), at))))),
    ("until", until),
    ("utc", |a| Ok(or_dash(a.at(0)?.map(format::utc)))),
    ("param", param),
    ("asked", |a| Ok(link::param(a.frame_text("query"), a.text(0)?).into())),
    ("enc", |a| Ok(link::encode(a.text(0)?).into())),
    ("page_of", |a| Ok(link::about(a.text(0)?).into())),
    ("href", |a| Ok(link::safe(a.text(0)?).unwrap_or_default().into())),
    ("short", |a| Ok(a.text(0)?.chars().take(12).collect::<String>().into())),
    ("plain", plain),
    ("sum", sum),
    ("ratio", ratio),
    ("present", |a| Ok((!a.value(0)?.is_null()).into())),
];

fn or_dash(text: Option<String>) -> Value {
    text.unwrap_or_else(|| "–".into()).into()
}

/// `{{t "key" n=3 name=x}}`: the sentence of a key.
fn t(a: &Args<'_, '_>) -> Result<Value, Failed> {
    Ok(a.voice.say(a.text(0)?, &a.sentence_args()?).into())
}

/// `{{word "operation" state}}`: a word of the program in the language.
fn word(a: &Args<'_, '_>) -> Result<Value, Failed> {
    Ok(a.voice.word(a.text(0)?, &plain_text(a.value(1)?)).into())
}

/// `{{kind "operation" state}}`: the look of a word, for class names.
fn kind_of(a: &Args<'_, '_>) -> Result<Value, Failed> {
    Ok(kind::of(a.text(0)?, &plain_text(a.value(1)?)).into())
}

/// Span from now to a time to come; `0` when it has passed.
fn until(a: &Args<'_, '_>) -> Result<Value, Failed> {
    Ok(or_dash(a.at(0)?.map(|at| format::span(a.voice, at.since_ms(a.now()).max(0)))))
}

/// `{{param "sort" "-mem"}}`: this page with that parameter changed; an empty value removes it.
fn param(a: &Args<'_, '_>) -> Result<Value, Failed> {
    let value = plain_text(a.value(1)?);
    let value = (!value.is_empty()).then_some(value.as_str());
    Ok(link::with(a.frame_text("path"), a.frame_text("query"), a.text(0)?, value).into())
}

/// Any value as a line of text: strings bare, the rest as JSON.
fn plain(a: &Args<'_, '_>) -> Result<Value, Failed> {
    Ok(plain_text(a.value(0)?).into())
}

/// Sum of whole numbers.
fn sum(a: &Args<'_, '_>) -> Result<Value, Failed> {
    let mut total = 0;
    for i in 0..a.helper.params().len() {
        total += a.number(i)?.unwrap_or_default() as i64;
    }
    Ok(total.into())
}

/// First by second, 0 when there is nothing to divide by.
fn ratio(a: &Args<'_, '_>) -> Result<Value, Failed> {
    let (part, whole) = (a.number(0)?.unwrap_or_default(), a.number(1)?.unwrap_or_default());
    Ok(if whole > 0.0 { part / whole } else { 0.0 }.into())
}

pub(super) fn plain_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
