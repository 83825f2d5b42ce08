//! The two languages: Fluent bundles and how a sentence is asked of them.
//!
//! Invariant: a key that exists in one language exists in the other, with the same arguments (a test
//! reads both files). Refuses to know pages.

use std::borrow::Cow;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};

use crate::frame::Lang;

pub(crate) const EN: &str = include_str!("../i18n/en.ftl");
pub(crate) const ZH_CN: &str = include_str!("../i18n/zh-CN.ftl");

/// Both bundles.
pub(crate) struct Words {
    en: FluentBundle<FluentResource>,
    zh_cn: FluentBundle<FluentResource>,
}

impl Words {
    /// Parses the embedded files.
    pub(crate) fn new() -> Words {
        Words { en: bundle(Lang::En, EN), zh_cn: bundle(Lang::ZhCn, ZH_CN) }
    }

    /// The sentence of `key`; `None` when there is no such key.
    pub(crate) fn say(&self, lang: Lang, key: &str, args: &[(&str, Arg<'_>)]) -> Option<String> {
        let bundle = match lang {
            Lang::En => &self.en,
            Lang::ZhCn => &self.zh_cn,
        };
        let pattern = bundle.get_message(key)?.value()?;
        let args: FluentArgs<'_> = args.iter().map(|(k, v)| (*k, v.fluent())).collect();
        let text = bundle.format_pattern(pattern, Some(&args), &mut Vec::new());
        Some(text.into_owned())
    }
}

/// An argument of a sentence.
#[derive(Debug, Clone)]
pub(crate) enum Arg<'a> {
    /// Chooses the plural form.
    Number(f64),
    /// Text, already formatted.
    Text(Cow<'a, str>),
}

impl Arg<'_> {
    fn fluent(&self) -> FluentValue<'_> {
        match self {
            Arg::Number(n) => FluentValue::from(*n),
            Arg::Text(t) => FluentValue::from(t.as_ref()),
        }
    }
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(text: &'a str) -> Arg<'a> {
        Arg::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Arg<'_> {
    fn from(text: String) -> Self {
        Arg::Text(Cow::Owned(text))
    }
}

fn bundle(lang: Lang, source: &str) -> FluentBundle<FluentResource> {
    let resource = FluentResource::try_new(source.to_owned())
        .expect("the embedded file parses: a test reads it");
    let tag = lang.as_str().parse().expect("our two tags are valid");
    let mut bundle = FluentBundle::new_concurrent(vec![tag]);
    bundle.set_use_isolating(false);
    bundle.add_resource(resource).expect("no key twice: a test reads it");
    bundle
}

/// One language of the bundles: what everything that writes words is given.
#[derive(Clone, Copy)]
pub(crate) struct Voice<'a> {
    /// Both bundles.
    pub(crate) words: &'a Words,
    /// The language spoken.
    pub(crate) lang: Lang,
}

impl Voice<'_> {
    /// The sentence of `key`; the key itself when it is missing, which a test rules out.
    pub(crate) fn say(&self, key: &str, args: &[(&str, Arg<'_>)]) -> String {
        self.words.say(self.lang, key, args).unwrap_or_else(|| key.to_owned())
    }

    /// A word of the program (`awaiting_approval`) in the language: key `<family>-<word>`, `_` as
    /// `-`, `?` as `unknown`; the word itself when it is newer than the portal.
    pub(crate) fn word(&self, family: &str, word: &str) -> String {
        let word_key = if word == "?" { "unknown" } else { word };
        let key = format!("{family}-{}", word_key.replace('_', "-"));
        self.words.say(self.lang, &key, &[]).unwrap_or_else(|| word.to_owned())
    }
}
