//! The process' own page as OpenMetrics: the registry's library writes the older text only.
//!
//! Invariant: the same families and values; a counter's family is named without `_total`, a unit is
//! said where the name ends in one, bounds of buckets are written as floats, and the page has an end.

/// Base units the names of our own families end in.
const UNITS: [&str; 3] = ["seconds", "bytes", "ratio"];

/// From text 0.0.4 to OpenMetrics 1.0.
pub(super) fn of_text(page: &str) -> String {
    let mut out = String::with_capacity(page.len() + page.len() / 8);
    let mut help: Option<&str> = None;
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map(|(_, text)| text);
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            head(&mut out, name, kind, help.take().unwrap_or_default());
        } else {
            out.push_str(&sample(line));
            out.push('\n');
        }
    }
    out.push_str("# EOF\n");
    out
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let family = match kind {
        "counter" => name.strip_suffix("_total").unwrap_or(name),
        _ => name,
    };
    // In the older text a quote in a help stands for itself.
    out.push_str(&format!("# HELP {family} {}\n", help.replace('"', "\\\"")));
    out.push_str(&format!("# TYPE {family} {kind}\n"));
    if let Some(unit) = UNITS.iter().find(|unit| family.ends_with(&format!("_{unit}"))) {
        out.push_str(&format!("# UNIT {family} {unit}\n"));
    }
}

/// A sample with the bound of its bucket as a float.
fn sample(line: &str) -> String {
    let Some((before, rest)) = line.split_once("le=\"") else { return line.to_string() };
    let Some((bound, after)) = rest.split_once('"') else { return line.to_string() };
    let whole = !bound.is_empty() && bound.bytes().all(|b| b.is_ascii_digit());
    let point = if whole { ".0" } else { "" };
    format!("{before}le=\"{bound}{point}\"{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_named_as_openmetrics_has_them_and_the_page_ends() {
        let text = "# HELP a_seconds_total It \"runs\".\n# TYPE a_seconds_total counter\n\
                    a_seconds_total{le=\"no\"} 1\n\
                    # HELP b Rows.\n# TYPE b gauge\nb 2\n\
                    # HELP c_seconds Took.\n# TYPE c_seconds histogram\n\
                    c_seconds_bucket{x=\"y\",le=\"10\"} 1\nc_seconds_bucket{x=\"y\",le=\"0.5\"} 0\n\
                    c_seconds_bucket{x=\"y\",le=\"+Inf\"} 1\n";
        let wanted = "# HELP a_seconds It \\\"runs\\\".\n# TYPE a_seconds counter\n\
                      # UNIT a_seconds seconds\na_seconds_total{le=\"no\"} 1\n\
                      # HELP b Rows.\n# TYPE b gauge\nb 2\n\
                      # HELP c_seconds Took.\n# TYPE c_seconds histogram\n\
                      # UNIT c_seconds seconds\nc_seconds_bucket{x=\"y\",le=\"10.0\"} 1\n\
                      c_seconds_bucket{x=\"y\",le=\"0.5\"} 0\n\
                      c_seconds_bucket{x=\"y\",le=\"+Inf\"} 1\n# EOF\n";
        assert_eq!(of_text(text), wanted);
    }
}
