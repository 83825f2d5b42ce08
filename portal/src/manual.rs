//! The manual that is built in, and Markdown as HTML.
//!
//! Invariant: no HTML of a text survives: it is shown as text, so a page is exactly as safe as its
//! links, and those lead inside this portal, to its pages, or to `http:` and `https:`.

use pulldown_cmark::{CowStr, Event, LinkType, Options, Parser, Tag, TagEnd, html};

/// A page of the manual.
#[derive(Debug, Clone, Copy)]
pub struct Manual {
    /// Name of its file, without `.md`: the alert it is about.
    pub name: &'static str,
    /// Markdown.
    pub text: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/manual.rs"));

impl Manual {
    /// Its first heading; without one its name.
    pub fn title(&self) -> &'static str {
        let heading = self.text.lines().find_map(|l| l.strip_prefix("# "));
        heading.map_or(self.name, str::trim)
    }
}

/// HTML of a Markdown text: headings, lists, tables, code.
pub(crate) fn rendered(text: &str) -> String {
    let events = Parser::new_ext(text, Options::ENABLE_TABLES);
    let mut links = Vec::new();
    let safe = events.filter_map(|event| match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Some(Event::Text(raw)),
        // An image would be fetched from somewhere; its words remain.
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => None,
        Event::Start(Tag::Link { dest_url, .. }) => {
            let target = target(&dest_url);
            links.push(target.is_some());
            let link = |dest_url: CowStr<'static>| Tag::Link {
                link_type: LinkType::Inline,
                dest_url,
                title: CowStr::Borrowed(""),
                id: CowStr::Borrowed(""),
            };
            target.map(|t| Event::Start(link(t.into())))
        }
        Event::End(TagEnd::Link) => links.pop().filter(|kept| *kept).map(|_| event),
        other => Some(other),
    });
    let mut out = String::with_capacity(text.len() * 2);
    html::push_html(&mut out, safe);
    out
}

/// Where a link of the manual leads in the portal; none when it leads nowhere a reader may go.
fn target(link: &str) -> Option<String> {
    if ["https://", "http://", "#"].iter().any(|start| link.starts_with(start)) {
        return Some(link.to_string());
    }
    if link.starts_with('/') && !link.starts_with("//") && !link.contains('\\') {
        return Some(link.to_string());
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let name = path.strip_suffix(".md")?;
    let known = RUNBOOKS.iter().any(|p| p.name == name);
    let anchor = if anchor.is_empty() { String::new() } else { format!("#{anchor}") };
    known.then(|| format!("/docs/runbooks/{name}{anchor}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_of_a_text_is_shown_and_never_obeyed() {
        let out = rendered("# A\n\n<script>alert(1)</script>\n\nx <img src=x onerror=y> `<b>`\n");
        assert!(out.contains("<h1>A</h1>") && out.contains("&lt;script&gt;"), "{out}");
        assert!(!out.contains("<script") && !out.contains("<img") && !out.contains("<b>"), "{out}");
    }

    #[test]
    fn a_link_leads_inside_or_to_the_web_or_is_none() {
        let link = |to: &str| rendered(&format!("[a]({to})"));
        assert!(link("https://redis.io/").contains("href=\"https://redis.io/\""));
        assert!(link("/alerts?q=a").contains("href=\"/alerts?q=a\""));
        assert!(link("#top").contains("href=\"#top\""));
        for none in
            ["javascript:alert(1)", "//evil.example", "data:text/html,x", "../../etc/passwd"]
        {
            assert_eq!(link(none), "<p>a</p>\n", "{none}");
        }
        assert_eq!(rendered("![b](https://x/y.png)"), "<p>b</p>\n");
    }

    #[test]
    fn tables_and_code_are_drawn() {
        let out = rendered("| a | b |\n|---|---|\n| 1 | `x` |\n\n```\nredis-cli\n```\n");
        assert!(out.contains("<table>") && out.contains("<pre><code>redis-cli"), "{out}");
    }
}
