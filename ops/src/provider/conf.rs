//! Writing a redis.conf: typed lines in, one text out.
//!
//! Invariant: what is read back by the server's own rules is exactly what was given, so no value can
//! become a second directive; control bytes are refused. Refuses to know what a directive means,
//! except those the provider owns.

use super::NodeKind;

/// One directive with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    name: String,
    args: Vec<String>,
}

impl Line {
    /// A directive: `Line::new("maxmemory", ["100mb"])`.
    pub fn new<A: Into<String>>(name: &str, args: impl IntoIterator<Item = A>) -> Line {
        Line { name: name.to_string(), args: args.into_iter().map(Into::into).collect() }
    }
}

/// Directives the provider sets by itself: given twice, the later would move the node away from its
/// address, its folder or its record. `include` would bring lines nobody checked.
const OWNED: [&str; 14] = [
    "port",
    "bind",
    "bind-source-addr",
    "protected-mode",
    "dir",
    "logfile",
    "daemonize",
    "supervised",
    "pidfile",
    "cluster-enabled",
    "cluster-announce-ip",
    "cluster-config-file",
    "unixsocket",
    "include",
];

/// The configuration of a node in `dir`, or what is wrong with a line.
pub(super) fn render(
    kind: NodeKind,
    host: &str,
    port: u16,
    dir: &str,
    lines: &[Line],
) -> Result<String, String> {
    let port = port.to_string();
    let log = format!("{dir}/log");
    // Protected mode takes 127.0.0.1 alone for loopback, and a node may live on any other address.
    let mut own = vec![
        Line::new("protected-mode", ["no"]),
        Line::new("port", [port.as_str()]),
        Line::new("bind", [host]),
        Line::new("bind-source-addr", [host]),
        Line::new("dir", [dir]),
        Line::new("logfile", [log.as_str()]),
        Line::new("daemonize", ["no"]),
    ];
    if kind == NodeKind::Cluster {
        own.push(Line::new("cluster-enabled", ["yes"]));
        own.push(Line::new("cluster-config-file", ["nodes.conf"]));
        own.push(Line::new("cluster-announce-ip", [host]));
    }
    let mut text = String::new();
    for line in &own {
        write(&mut text, line)?;
    }
    for line in lines {
        if OWNED.contains(&line.name.as_str()) {
            return Err(format!("{} is set by the provider", line.name));
        }
        write(&mut text, line)?;
    }
    Ok(text)
}

fn write(text: &mut String, line: &Line) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if line.name.is_empty() || !line.name.chars().all(plain) {
        return Err(format!("{:?} is not the name of a directive (a-z, 0-9, '-')", line.name));
    }
    text.push_str(&line.name);
    for arg in &line.args {
        text.push(' ');
        quote(text, arg).map_err(|why| format!("{}: {why}", line.name))?;
    }
    text.push('\n');
    Ok(())
}

/// Always in double quotes unless plainly harmless: the server's splitter knows `\\` and `\"` there.
fn quote(text: &mut String, arg: &str) -> Result<(), String> {
    if let Some(bad) = arg.chars().find(|c| c.is_control()) {
        return Err(format!("control character {:?} in a value", bad));
    }
    let harmless = |c: char| c.is_ascii_alphanumeric() || "._-+:/@%,=*~&|".contains(c);
    if !arg.is_empty() && arg.chars().all(harmless) {
        text.push_str(arg);
        return Ok(());
    }
    text.push('"');
    for c in arg.chars() {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(lines: &[Line]) -> Result<String, String> {
        render(NodeKind::Data, "127.0.1.1", 7000, "/n/1", lines)
    }

    #[test]
    fn a_value_cannot_become_a_second_directive() {
        let said = data(&[Line::new("requirepass", ["x\nreplicaof evil 1"])]).unwrap_err();
        assert!(said.contains("control character"), "{said}");
        assert!(data(&[Line::new("a b", ["c"])]).is_err());
        assert!(data(&[Line::new("save", [""])]).unwrap().ends_with("\nsave \"\"\n"));
        let text = data(&[Line::new("requirepass", [r#"a" b\ # 'c"#])]).unwrap();
        assert!(text.ends_with("requirepass \"a\\\" b\\\\ # 'c\"\n"), "{text}");
    }

    #[test]
    fn what_the_provider_owns_cannot_be_set_again() {
        for name in OWNED {
            assert!(data(&[Line::new(name, ["x"])]).is_err(), "{name}");
        }
    }
}
