//! What templates can call: `text` helpers, whose answer is escaped by the engine and may be an
//! argument of another helper, and `markup` helpers, which write HTML they have escaped themselves.
//!
//! Invariant: a missing argument is an error, null is "not known". Helpers read the language, the
//! time and the zone from the frame at the root of the page's data, so they behave the same in
//! loops and parts.

pub(crate) mod kind;
mod markup;
mod text;

use std::sync::Arc;

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderError,
    RenderErrorReason, ScopedJson,
};
use model::At;
use serde::Deserialize;
use serde_json::Value;

use crate::frame::Lang;
use crate::words::{Arg, Voice, Words};

/// Registers all of them.
pub(crate) fn register(templates: &mut Handlebars<'static>, words: &Arc<Words>) {
    for (name, call) in text::ALL {
        templates.register_helper(name, Box::new(Text { words: Arc::clone(words), call: *call }));
    }
    for (name, call) in markup::ALL {
        templates.register_helper(name, Box::new(Markup { words: Arc::clone(words), call: *call }));
    }
}

type Failed = RenderError;
type TextFn = fn(&Args<'_, '_>) -> Result<Value, Failed>;
type MarkupFn = fn(&Args<'_, '_>) -> Result<String, Failed>;

struct Text {
    words: Arc<Words>,
    call: TextFn,
}

impl HelperDef for Text {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        context: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        (self.call)(&Args::new(helper, context, &self.words)).map(ScopedJson::Derived)
    }
}

struct Markup {
    words: Arc<Words>,
    call: MarkupFn,
}

impl HelperDef for Markup {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        context: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        out.write(&(self.call)(&Args::new(helper, context, &self.words))?)?;
        Ok(())
    }
}

/// A helper's arguments with the frame they are read in.
struct Args<'a, 'rc> {
    helper: &'a Helper<'rc>,
    frame: &'a Value,
    voice: Voice<'a>,
}

impl<'a, 'rc> Args<'a, 'rc> {
    fn new(helper: &'a Helper<'rc>, context: &'a Context, words: &'a Words) -> Args<'a, 'rc> {
        let frame = &context.data()["f"];
        let lang = frame["lang"].as_str().and_then(Lang::parse).unwrap_or_default();
        Args { helper, frame, voice: Voice { words, lang } }
    }

    fn value(&self, i: usize) -> Result<&Value, Failed> {
        let param = self.helper.param(i).ok_or_else(|| self.wrong(i, "an argument"))?;
        if param.is_value_missing() {
            let path = param.relative_path().cloned();
            return Err(RenderErrorReason::MissingVariable(path).into());
        }
        Ok(param.value())
    }

    fn text(&self, i: usize) -> Result<&str, Failed> {
        self.value(i)?.as_str().ok_or_else(|| self.wrong(i, "text"))
    }

    /// `None` for null.
    fn number(&self, i: usize) -> Result<Option<f64>, Failed> {
        match self.value(i)? {
            Value::Null => Ok(None),
            value => value.as_f64().map(Some).ok_or_else(|| self.wrong(i, "a number or null")),
        }
    }

    /// `None` for null.
    fn at(&self, i: usize) -> Result<Option<At>, Failed> {
        match self.value(i)? {
            Value::Null => Ok(None),
            Value::String(text) => At::parse(text).map(Some).map_err(|_| self.wrong(i, "a time")),
            _ => Err(self.wrong(i, "a time or null")),
        }
    }

    /// The value as a noun of `model`.
    fn noun<T: Deserialize<'a>>(&'a self, i: usize) -> Result<T, Failed> {
        T::deserialize(self.value(i)?).map_err(|e| RenderErrorReason::SerdeError(e).into())
    }

    /// A named argument as text; empty when it is not given or null.
    fn named(&self, name: &str) -> &str {
        self.helper.hash_get(name).and_then(|v| v.value().as_str()).unwrap_or_default()
    }

    fn now(&self) -> At {
        At::from_ms(self.frame["now_ms"].as_i64().unwrap_or_default())
    }

    fn frame_text(&self, name: &str) -> &str {
        self.frame[name].as_str().unwrap_or_default()
    }

    /// Named arguments as arguments of a sentence.
    fn sentence_args(&self) -> Result<Vec<(&str, Arg<'_>)>, Failed> {
        let one = |(name, value): (&&'rc str, &'a handlebars::PathAndJson<'rc>)| {
            if value.is_value_missing() {
                let path = value.relative_path().cloned();
                return Err(RenderErrorReason::MissingVariable(path).into());
            }
            Ok((*name, argument(value.value())))
        };
        self.helper.hash().iter().map(one).collect()
    }

    fn wrong(&self, i: usize, wanted: &str) -> Failed {
        let text = format!("helper {}: argument {i}: expected {wanted}", self.helper.name());
        RenderErrorReason::Other(text).into()
    }
}

fn argument(value: &Value) -> Arg<'_> {
    match value {
        Value::Number(n) => Arg::Number(n.as_f64().unwrap_or_default()),
        Value::String(s) => Arg::from(s.as_str()),
        other => Arg::from(other.to_string()),
    }
}
