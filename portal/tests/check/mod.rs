//! A small reader of HTML: tags balance, attributes are quoted, nothing hostile became markup.

const VOID: [&str; 6] = ["br", "hr", "img", "input", "link", "meta"];

/// Tags of `html` in order: (name, attributes, closing, self-closing).
fn tags(html: &str) -> Result<Vec<(String, String, bool, bool)>, String> {
    let mut found = Vec::new();
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        rest = &rest[open + 1..];
        if rest.starts_with('!') {
            continue;
        }
        let mut quoted = false;
        let end = rest
            .char_indices()
            .find(|(_, c)| {
                quoted ^= *c == '"';
                *c == '>' && !quoted
            })
            .map(|(i, _)| i)
            .ok_or_else(|| {
                format!("a tag does not end: {}", &rest.chars().take(60).collect::<String>())
            })?;
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        let closing = tag.starts_with('/');
        let selfed = tag.ends_with('/');
        let body = tag.trim_start_matches('/').trim_end_matches('/');
        let (name, attributes) = body.split_once(char::is_whitespace).unwrap_or((body, ""));
        found.push((name.to_owned(), attributes.to_owned(), closing, selfed));
    }
    Ok(found)
}

/// Whether every tag is closed in order and every attribute quoted and there once.
pub fn well_formed(html: &str) -> Result<(), String> {
    let mut open: Vec<String> = Vec::new();
    for (name, attributes, closing, selfed) in tags(html)? {
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(format!("odd tag <{name} {attributes}>"));
        }
        check_attributes(&name, &attributes)?;
        if closing {
            match open.pop() {
                Some(top) if top == name => {}
                top => return Err(format!("</{name}> closes {top:?}")),
            }
        } else if !selfed && !VOID.contains(&name.as_str()) {
            open.push(name);
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("left open: {open:?}")) }
}

fn check_attributes(tag: &str, attributes: &str) -> Result<(), String> {
    let mut seen = Vec::new();
    let mut rest = attributes.trim();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let name = &rest[..end];
        if seen.contains(&name) || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(format!("<{tag}>: attribute {name:?} in {attributes}"));
        }
        seen.push(name);
        rest = &rest[end..];
        if let Some(value) = rest.strip_prefix('=') {
            let value =
                value.strip_prefix('"').ok_or_else(|| format!("<{tag} {name}>: not quoted"))?;
            let close = value.find('"').ok_or_else(|| format!("<{tag} {name}>: no end"))?;
            rest = &value[close + 1..];
            if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
                return Err(format!("<{tag} {name}>: text after the value"));
            }
        }
        rest = rest.trim_start();
    }
    Ok(())
}

/// The first tag or attribute that only hostile text could have brought in.
pub fn hostile_survivor(html: &str) -> Option<String> {
    tags(html).ok()?.into_iter().find_map(|(name, attributes, _, _)| {
        // Some fields of ours are text areas; any other could only come from the text.
        let ours = ["text", "curves", "off", "gates", "matchers", "windows"]
            .map(|own| format!("name=\"{own}\""));
        let bad_tag = ["script", "img", "style", "iframe", "object"].contains(&name.as_str())
            || name == "textarea"
                && !attributes.is_empty()
                && !ours.iter().any(|own| attributes.contains(own));
        let names = attributes.split('"').step_by(2).map(|part| part.trim().trim_end_matches('='));
        let bad_name = names
            .flat_map(|part| part.split_whitespace())
            .any(|n| n.starts_with("on") || n == "style" || n == "srcdoc");
        let bad_link = attributes.to_lowercase().contains("href=\"javascript:");
        (bad_tag || bad_name || bad_link).then(|| format!("<{name} {attributes}>"))
    })
}
