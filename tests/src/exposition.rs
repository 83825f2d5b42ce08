//! A strict reader of metric pages: Prometheus' text 0.0.4 and OpenMetrics 1.0.
//!
//! Invariant: what it accepts every scraper reads the same way; anything doubtful is an error with its
//! line. Depends on nothing, so that fuzz targets and other crates' tests include it as a file.

use std::collections::BTreeSet;

/// Which text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Text 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its name, suffix included.
    pub name: String,
    /// Labels in their order, unescaped.
    pub labels: Vec<(String, String)>,
    /// Its value.
    pub value: f64,
}

impl Sample {
    /// The value of a label; empty when it has none of that name.
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }
}

/// One family.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// As declared.
    pub name: String,
    /// As declared.
    pub kind: String,
    /// Unescaped.
    pub help: String,
    /// OpenMetrics; empty when it has none.
    pub unit: String,
    /// In their order.
    pub samples: Vec<Sample>,
}

/// Reads a page.
///
/// # Errors
/// The first line that is not as the format demands, and why.
pub fn read(page: &str, dialect: Dialect) -> Result<Vec<Family>, String> {
    let mut reading = Reading { dialect, families: Vec::new(), series: BTreeSet::new() };
    let body = match dialect {
        Dialect::Text => page,
        Dialect::OpenMetrics => page.strip_suffix("# EOF\n").ok_or("no EOF at the end")?,
    };
    if !body.is_empty() && !body.ends_with('\n') {
        return Err("the last line has no end".into());
    }
    for (at, line) in body.split_terminator('\n').enumerate() {
        reading.line(line).map_err(|why| format!("line {}: {why}: {line:?}", at + 1))?;
    }
    Ok(reading.families)
}

struct Reading {
    dialect: Dialect,
    families: Vec<Family>,
    series: BTreeSet<(String, Vec<(String, String)>)>,
}

impl Reading {
    fn line(&mut self, line: &str) -> Result<(), String> {
        match line.strip_prefix("# ") {
            Some(comment) => self.comment(comment),
            None if line.starts_with('#') => Err("a comment of no kind".into()),
            None => self.sample(line),
        }
    }

    fn comment(&mut self, comment: &str) -> Result<(), String> {
        let (word, rest) = comment.split_once(' ').ok_or("a comment of one word")?;
        let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
        if !is_name(name, true) {
            return Err("no metric name".into());
        }
        match word {
            "HELP" => {
                let help = unescape(text, self.dialect == Dialect::OpenMetrics)?;
                if self.families.iter().any(|f| f.name == name) {
                    return Err("declared twice".into());
                }
                let (kind, unit) = (String::new(), String::new());
                let (name, samples) = (name.to_string(), Vec::new());
                self.families.push(Family { name, kind, help, unit, samples });
                Ok(())
            }
            "TYPE" => {
                let family = self.present(name)?;
                if !family.kind.is_empty() || !family.samples.is_empty() {
                    return Err("TYPE at a wrong place".into());
                }
                family.kind = text.into();
                let known = match self.dialect {
                    Dialect::Text => ["counter", "gauge", "summary", "histogram", "untyped"],
                    Dialect::OpenMetrics => ["counter", "gauge", "summary", "histogram", "unknown"],
                };
                known.contains(&text).then_some(()).ok_or("unknown type".into())
            }
            "UNIT" if self.dialect == Dialect::OpenMetrics => {
                let family = self.present(name)?;
                if !family.unit.is_empty() || !family.samples.is_empty() {
                    return Err("UNIT at a wrong place".into());
                }
                family.unit = text.into();
                let fits = name.strip_suffix(text).is_some_and(|stem| stem.ends_with('_'));
                fits.then_some(()).ok_or("the name does not end in its unit".into())
            }
            _ => Err("a comment of no kind".into()),
        }
    }

    /// The family declared last, which must be this one.
    fn present(&mut self, name: &str) -> Result<&mut Family, String> {
        let last = self.families.last_mut().filter(|f| f.name == name);
        last.ok_or("HELP does not stand before it".into())
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        let end = line.find(['{', ' ']).ok_or("no value")?;
        let (name, mut rest) = line.split_at(end);
        if !is_name(name, true) {
            return Err("no metric name".into());
        }
        let mut labels = Vec::new();
        if let Some(inside) = rest.strip_prefix('{') {
            (labels, rest) = read_labels(inside, self.dialect)?;
        }
        let value = number(rest.strip_prefix(' ').ok_or("no space before the value")?)?;
        let mut sorted = labels.clone();
        sorted.sort();
        if sorted.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err("a label twice".into());
        }
        if !self.series.insert((name.to_string(), sorted)) {
            return Err("a series twice".into());
        }
        let dialect = self.dialect;
        let family = self.families.last_mut().ok_or("no family")?;
        belongs(family, name, dialect)?;
        family.samples.push(Sample { name: name.into(), labels, value });
        Ok(())
    }
}

/// Whether a sample of that name may stand in the family.
fn belongs(family: &Family, name: &str, dialect: Dialect) -> Result<(), String> {
    let suffix = name.strip_prefix(family.name.as_str()).ok_or("a sample of another family")?;
    let allowed: &[&str] = match (family.kind.as_str(), dialect) {
        ("", _) => return Err("no TYPE".into()),
        ("counter", Dialect::OpenMetrics) => &["_total", "_created"],
        ("summary", _) => &["", "_sum", "_count"],
        ("histogram", _) => &["_bucket", "_sum", "_count"],
        _ => &[""],
    };
    allowed.contains(&suffix).then_some(()).ok_or(format!("{suffix:?} is no suffix of its type"))
}

type Labels = Vec<(String, String)>;

/// Labels up to the closing brace, and what follows it.
fn read_labels(mut rest: &str, dialect: Dialect) -> Result<(Labels, &str), String> {
    let mut labels = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            let fine = dialect == Dialect::Text || !labels.is_empty();
            return fine.then_some((labels, after)).ok_or("empty braces".into());
        }
        if !labels.is_empty() {
            rest = rest.strip_prefix(',').ok_or("no comma between labels")?;
        }
        let (name, after) = rest.split_once("=\"").ok_or("no label")?;
        if !is_name(name, false) {
            return Err(format!("{name:?} is no label name"));
        }
        let end = closing_quote(after).ok_or("a label value without an end")?;
        labels.push((name.to_string(), unescape(&after[..end], true)?));
        rest = &after[end + 1..];
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|b| {
        let closes = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        closes
    })
}

fn unescape(text: &str, quotes: bool) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(match chars.next() {
                Some('\\') => '\\',
                Some('n') => '\n',
                Some('"') if quotes => '"',
                other => return Err(format!("escaped {other:?}")),
            }),
            '"' if quotes => return Err("a bare quote".into()),
            c => out.push(c),
        }
    }
    Ok(out)
}

fn is_name(text: &str, colon: bool) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || (colon && b == b':');
    !text.is_empty() && text.bytes().all(fine) && !text.as_bytes()[0].is_ascii_digit()
}

/// As Go reads a float, without its rarer spellings.
fn number(text: &str) -> Result<f64, String> {
    match text {
        "NaN" => Ok(f64::NAN),
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        _ if text.bytes().all(|b| b.is_ascii_digit() || b"+-.e".contains(&b)) => {
            text.parse().map_err(|_| "no number".to_string())
        }
        _ => Err("no number".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# HELP a_total x\\n\n# TYPE a_total counter\n";

    #[test]
    fn a_page_is_read_with_its_escapes() {
        let page = format!("{HEAD}a_total{{b=\"1\\\\2\\\"3\\n4}}\",c=\"\"}} 1.5e3\na_total NaN\n");
        let all = read(&page, Dialect::Text).expect("well formed");
        assert_eq!((all[0].help.as_str(), all[0].kind.as_str()), ("x\n", "counter"));
        assert_eq!(all[0].samples[0].label("b"), "1\\2\"3\n4}");
        assert_eq!(all[0].samples[0].value, 1500.0);
        let open =
            "# HELP a_bytes x\n# TYPE a_bytes gauge\n# UNIT a_bytes bytes\na_bytes 1\n# EOF\n";
        assert_eq!(read(open, Dialect::OpenMetrics).expect("well formed")[0].unit, "bytes");
    }

    #[test]
    fn what_a_scraper_might_read_otherwise_is_refused() {
        for body in [
            "a_total 1",
            "a_total  1\n",
            "a_total{} 1 \n",
            "a_total{b=\"\n\"} 1\n",
            "a_total{b=\"\\t\"} 1\n",
            "a_total{b=\"1\",b=\"2\"} 1\n",
            "a_total{b=\"1\"c=\"2\"} 1\n",
            "a_total{1b=\"1\"} 1\n",
            "a_total{b=\"1\"}1\n",
            "a_total 1\na_total 1\n",
            "a_total{b=\"1\",c=\"2\"} 1\na_total{c=\"2\",b=\"1\"} 1\n",
            "b_total 1\n",
            "a_total_sum 1\n",
            "a_total 0x10\n",
            "a_total inf\n",
            "# TYPE a_total counter\n",
            "# HELP a_total again\n",
            "# EOF\n",
            "\n",
        ] {
            assert!(read(&format!("{HEAD}{body}"), Dialect::Text).is_err(), "{body:?}");
        }
        for page in ["a 1\n", "# HELP a x\na 1\n", "# TYPE a gauge\na 1\n"] {
            assert!(read(page, Dialect::Text).is_err(), "{page:?}");
        }
        for page in [
            "",
            "# HELP a x\n# TYPE a counter\na 1\n# EOF\n",
            "# HELP a x\n# TYPE a gauge\n# UNIT a bytes\na 1\n# EOF\n",
            "# HELP a x\n# TYPE a gauge\na 1\n# EOF\n\n",
            "# HELP a x\n# TYPE a gauge\na{} 1\n# EOF\n",
        ] {
            assert!(read(page, Dialect::OpenMetrics).is_err(), "{page:?}");
        }
    }
}
