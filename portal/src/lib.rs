//! Rendering: a value of the API and a frame in, HTML out.
//!
//! Invariant: pure. The same value, frame and binary give the same bytes; everything that came from
//! outside is escaped. Refuses to know: requests, sessions, the store, the clock, the network.

mod asset;
mod config;
mod derive;
mod format;
mod frame;
mod helpers;
mod link;
pub mod manual;
mod page;
mod sentences;
mod svg;
mod templates;
mod words;

use std::sync::Arc;

use handlebars::{Context, Handlebars};
use serde_json::{Value, json};

pub use asset::{Asset, CSS_PATH, asset};
pub use config::{Config, Support};
pub use frame::{Frame, Lang, Theme};
pub use page::Page;

use words::Words;

/// Why there is no HTML.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The value does not have the page's shape, or a template is wrong: our fault either way.
    #[error("page {page}: {source}")]
    Render {
        /// Template.
        page: &'static str,
        /// Where it failed.
        #[source]
        source: Box<handlebars::RenderError>,
    },
    /// The value is not the one the page is drawn from.
    #[error("page {page}: the value has another shape: {source}")]
    Shape {
        /// Template.
        page: &'static str,
        /// What is missing.
        #[source]
        source: serde_json::Error,
    },
    /// No such fragment.
    #[error("there is no fragment {0:?}")]
    NoPart(String),
}

/// Fragments of the live stream: name, template, the page whose value they are drawn from.
const PARTS: &[(&str, &str, Page)] = &[
    ("overview", "parts/overview_live", Page::Overview),
    ("alerts", "parts/alerts_table", Page::Alerts),
    ("operation", "parts/operation_live", Page::Operation),
];

/// The parsed templates and both languages. Cheap to share, made once.
pub struct Portal {
    templates: Handlebars<'static>,
    words: Arc<Words>,
}

impl Default for Portal {
    fn default() -> Portal {
        Portal::new()
    }
}

impl Portal {
    /// Parses everything that is embedded.
    pub fn new() -> Portal {
        let words = Arc::new(Words::new());
        let mut templates = Handlebars::new();
        templates.set_strict_mode(true);
        templates.set_prevent_indent(true);
        for (name, source) in templates::ALL {
            templates
                .register_template_string(name, *source)
                .expect("the embedded templates parse: a test renders every one");
        }
        helpers::register(&mut templates, &words);
        Portal { templates, words }
    }

    /// The whole page. `value` is the serialised value of `model::view` that `page` names.
    pub fn page(&self, page: Page, value: &Value, frame: &Frame) -> Result<String, Error> {
        self.render("layout", page, value, frame)
    }

    /// A fragment for the live stream: `overview` (drawn from `Overview`), `alerts` (from
    /// `List<Alert>`), `operation` (from `OperationPage`).
    pub fn part(&self, name: &str, value: &Value, frame: &Frame) -> Result<String, Error> {
        let (_, template, page) =
            PARTS.iter().find(|(n, _, _)| *n == name).ok_or_else(|| Error::NoPart(name.into()))?;
        self.render(template, *page, value, frame)
    }

    fn render(
        &self,
        template: &str,
        page: Page,
        value: &Value,
        frame: &Frame,
    ) -> Result<String, Error> {
        let voice = words::Voice { words: &self.words, lang: frame.lang };
        let derived = derive::derive(page, value, frame, voice)
            .map_err(|source| Error::Shape { page: page.id(), source })?;
        let root = json!({ "v": value, "d": derived, "f": frame.value(page) });
        self.templates
            .render_with_context(template, &Context::from(root))
            .map_err(|source| Error::Render { page: page.id(), source: Box::new(source) })
    }
}

const _: () = {
    const fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<Portal>();
};
