//! The form of an item: its definition as fields a person can fill without a script.
//!
//! Invariant: what the fields say is the definition, no more; the way back is in `server`'s forms.

use model::item::{ItemDoc, ItemKind, ItemOn, ItemPage, ItemSource};
use serde_json::{Value, json};

const SOURCES: [&str; 7] = ["info", "config", "command", "scan", "script", "function", "expr"];

/// What the template needs beyond the page's value.
pub(super) fn derive(page: &ItemPage) -> Value {
    let mut fields = fields(&page.item.source);
    let option = |word: &str, here: bool| json!({ "value": word, "here": here });
    let kind = page.item.source.word();
    fields["sources"] = SOURCES.iter().map(|s| option(s, *s == kind)).collect();
    fields["kinds"] = [ItemKind::Gauge, ItemKind::Counter]
        .map(|k| option(k.as_str(), k == page.item.kind))
        .to_vec()
        .into();
    let mut ons = vec![option("auto", page.item.on.is_none())];
    ons.extend(
        [ItemOn::Master, ItemOn::Replica, ItemOn::Any]
            .map(|on| option(on.as_str(), page.item.on == Some(on))),
    );
    fields["ons"] = ons.into();
    let labels = page.item.labels.iter().map(|(name, part)| format!("{name}={part}"));
    fields["labels"] = labels.collect::<Vec<_>>().join(", ").into();
    fields["tested"] = json!(page.test.as_ref().map(|t| t.instance.as_str()).unwrap_or_default());
    fields["revisions"] = revisions(page);
    fields
}

fn fields(source: &ItemSource) -> Value {
    let blank = json!({
        "text": "", "path": "", "equals": "", "section": "", "part": "", "keys_max": "",
        "keys": "", "args": "",
    });
    let mut form = blank;
    let mut set = |name: &str, value: &str| form[name] = value.into();
    match source {
        ItemSource::Info { field, section, part, equals } => {
            set("text", field);
            set("section", section.as_deref().unwrap_or_default());
            set("part", part.as_deref().unwrap_or_default());
            set("equals", equals.as_deref().unwrap_or_default());
        }
        ItemSource::Config { parameter, equals } => {
            set("text", parameter);
            set("equals", equals.as_deref().unwrap_or_default());
        }
        ItemSource::Command { args, path, equals } => {
            // An argument with a blank in it needs lines of their own.
            let joint = if args.iter().any(|a| a.contains(' ')) { "\n" } else { " " };
            set("text", &args.join(joint));
            set("path", path);
            set("equals", equals.as_deref().unwrap_or_default());
        }
        ItemSource::Scan { pattern, keys_max } => {
            set("text", pattern);
            set("keys_max", &keys_max.to_string());
        }
        ItemSource::Script { lua: text, keys, args, path }
        | ItemSource::Function { function: text, keys, args, path } => {
            set("text", text);
            set("keys", &keys.join(" "));
            set("args", &args.join(" "));
            set("path", path);
        }
        ItemSource::Expr(text) => set("text", text),
    }
    form
}

fn revisions(page: &ItemPage) -> Value {
    let line = |item: &ItemDoc| {
        let source = serde_json::to_string(&item.source).unwrap_or_default();
        let short: String = source.chars().take(120).collect();
        format!("{short} · {} s", item.cadence_s)
    };
    let one = |r: &model::item::ItemRevision| {
        json!({
            "id": page.item.id().to_string(), "rev": r.rev, "by": r.by, "reason": r.reason,
            "at": r.at, "deleted": r.deleted, "text": line(&r.item),
            "restorable": !r.deleted && r.rev != page.rev,
        })
    };
    page.revisions.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_with_a_blank_stands_on_a_line_of_its_own() {
        let command = |args: &[&str]| ItemSource::Command {
            args: args.iter().map(ToString::to_string).collect(),
            path: String::new(),
            equals: None,
        };
        assert_eq!(fields(&command(&["LLEN", "q"]))["text"], "LLEN q");
        assert_eq!(fields(&command(&["LLEN", "a b"]))["text"], "LLEN\na b");
    }
}
