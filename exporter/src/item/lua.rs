//! Which Lua scripts may be sent: a small part of the language in which every script ends soon.
//!
//! A server runs nothing else while a script runs, and a connection that gives up does not stop it. So
//! scripts are read before they are sent: loops over lists only, no functions of their own, no
//! text built, no table changed, and Redis called by name with commands of the allow-list.
//!
//! Invariant: an accepted script's time is bounded by its own length and the replies it asks for;
//! it reads nothing an item could not read by a command. Refuses to know what it computes.

use super::command;

/// Longest script, bytes.
pub(crate) const TEXT_MAX: usize = 4096;
/// Loops of one script: each multiplies the time of those around it.
const LOOPS_MAX: usize = 2;
/// Calls of Redis written in one script.
const CALLS_MAX: usize = 8;

/// Words of the language a script may not use, with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("while", "a loop that may never end; loop over a list: for _, v in ipairs(t) do"),
    ("repeat", "a loop that may never end; loop over a list: for _, v in ipairs(t) do"),
    ("goto", "a jump that may never end"),
    ("function", "a function of its own may call itself for ever"),
];
/// Functions a script may call; all take a time that does not grow with their numbers.
const CALLABLE: &[&str] = &["tonumber", "ipairs", "type"];
/// Functions of `math` it may call.
const MATH: &[&str] = &["abs", "ceil", "floor", "max", "min"];
/// Words of the language that may stand before a parenthesis without calling anything.
const KEYWORDS: &[&str] = &[
    "and", "break", "do", "else", "elseif", "end", "false", "for", "if", "in", "local", "nil",
    "not", "or", "return", "then", "true",
];

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Number,
    Sign(String),
}

/// Refuses a script that may run for long, or does what an item may not.
pub(crate) fn check(script: &str) -> Result<(), String> {
    if script.len() > TEXT_MAX {
        return Err(format!("{} bytes; at most {TEXT_MAX} are sent", script.len()));
    }
    let tokens = tokens(script)?;
    if tokens.is_empty() {
        return Err("the script is empty".into());
    }
    let (mut loops, mut calls) = (0, 0);
    for at in 0..tokens.len() {
        let line = tokens[at].0;
        let found = one(&tokens, at).map_err(|why| format!("line {line}: {why}"))?;
        loops += usize::from(found == Some(Kind::Loop));
        calls += usize::from(found == Some(Kind::Call));
    }
    if loops > LOOPS_MAX {
        return Err(format!("{loops} loops; at most {LOOPS_MAX} may stand in a script"));
    }
    if calls > CALLS_MAX {
        return Err(format!("{calls} calls of Redis; at most {CALLS_MAX} may stand in a script"));
    }
    Ok(())
}

#[derive(Debug, PartialEq)]
enum Kind {
    Loop,
    Call,
}

type Tokens = [(usize, Token)];

fn sign(tokens: &Tokens, at: usize) -> &str {
    match tokens.get(at) {
        Some((_, Token::Sign(sign))) => sign,
        _ => "",
    }
}

fn word(tokens: &Tokens, at: usize) -> &str {
    match tokens.get(at) {
        Some((_, Token::Word(word))) => word,
        _ => "",
    }
}

/// Looks at the token at `at` and what stands around it.
fn one(tokens: &Tokens, at: usize) -> Result<Option<Kind>, String> {
    let before = if at == 0 { "" } else { sign(tokens, at - 1) };
    match &tokens[at].1 {
        Token::Sign(s) if s == ":" => Err("`:` calls a method; only listed functions".into()),
        Token::Sign(s) if s == ".." => Err("`..` builds texts, which may grow for ever".into()),
        Token::Sign(s) if s == "^" => Err("`^` is not needed; multiply".into()),
        Token::Sign(s) if s == "=" && before == "]" => Err("a list may not be changed".into()),
        Token::Sign(s) if s == "(" && matches!(before, ")" | "]") => {
            Err("only a listed function may be called".into())
        }
        Token::Text(_) | Token::Sign(_) | Token::Number => text_call(tokens, at),
        Token::Word(w) => named(tokens, at, w, before),
    }
}

/// `f"text"` and `f{…}` call as `f(…)` does.
fn text_call(tokens: &Tokens, at: usize) -> Result<Option<Kind>, String> {
    let opens = matches!(&tokens[at].1, Token::Text(_)) || sign(tokens, at) == "{";
    let before = if at == 0 { "" } else { word(tokens, at - 1) };
    let after_value = at > 0 && matches!(sign(tokens, at - 1), ")" | "]");
    if opens && (after_value || !before.is_empty() && !KEYWORDS.contains(&before)) {
        return Err("a function is called with parentheses".into());
    }
    // Lists of lists double with each line; the server would spell all of them out in its reply.
    if sign(tokens, at) == "{" && before != "return" {
        return Err("a list may stand after `return` only".into());
    }
    Ok(None)
}

fn named(tokens: &Tokens, at: usize, w: &str, before: &str) -> Result<Option<Kind>, String> {
    if let Some((_, why)) = REFUSED.iter().find(|(name, _)| *name == w) {
        return Err(format!("`{w}`: {why}"));
    }
    if before == "." {
        return match sign(tokens, at + 1) {
            "=" => Err("a list may not be changed".into()),
            "(" if !math(tokens, at) && !redis(tokens, at) => {
                Err(format!("`{w}` is no function a script may call"))
            }
            _ => Ok(None),
        };
    }
    if w == "for" {
        let rest = tokens[at..].iter().take(12);
        let listed = rest.clone().position(|(_, t)| *t == Token::Word("in".into()));
        let over = listed.map(|n| word(tokens, at + n + 1)).unwrap_or_default();
        return match over {
            "ipairs" => Ok(Some(Kind::Loop)),
            _ => Err("`for`: only over lists, for _, v in ipairs(t) do".into()),
        };
    }
    if matches!(w, "redis" | "server") {
        return call(tokens, at).map(|()| Some(Kind::Call));
    }
    if w == "math" && sign(tokens, at + 1) != "." {
        return Err("`math` may only be called: math.floor(x)".into());
    }
    let is_call = sign(tokens, at + 1) == "(";
    if is_call && !CALLABLE.contains(&w) && !KEYWORDS.contains(&w) {
        return Err(format!("`{w}` is no function a script may call"));
    }
    // As a value a function could be called under another name.
    if !is_call && CALLABLE.contains(&w) {
        return Err(format!("`{w}` may only be called"));
    }
    match w {
        "_G" | "cjson" | "cmsgpack" | "bit" | "struct" | "string" | "table" | "os" | "debug"
        | "pairs" => Err(format!("`{w}` is not offered to scripts of items")),
        _ => Ok(None),
    }
}

fn math(tokens: &Tokens, at: usize) -> bool {
    at >= 2 && word(tokens, at - 2) == "math" && MATH.contains(&word(tokens, at))
}

fn redis(tokens: &Tokens, at: usize) -> bool {
    at >= 2
        && matches!(word(tokens, at - 2), "redis" | "server")
        && matches!(word(tokens, at), "call" | "pcall")
}

/// `redis.call("COMMAND", …)` with a literal command of the list.
fn call(tokens: &Tokens, at: usize) -> Result<(), String> {
    let form = (sign(tokens, at + 1), word(tokens, at + 2), sign(tokens, at + 3));
    if !matches!(form, (".", "call" | "pcall", "(")) {
        return Err("Redis is asked by redis.call(\"COMMAND\", …) only".into());
    }
    let Some((_, Token::Text(name))) = tokens.get(at + 4) else {
        return Err("the command must stand there as a text: redis.call(\"LLEN\", KEYS[1])".into());
    };
    if !matches!(sign(tokens, at + 5), "," | ")") {
        return Err("the command must be one text".into());
    }
    command::in_script(name)
}

fn tokens(script: &str) -> Result<Vec<(usize, Token)>, String> {
    let bytes = script.as_bytes();
    let (mut out, mut at, mut line) = (Vec::new(), 0, 1);
    while at < bytes.len() {
        let rest = &script[at..];
        let b = bytes[at];
        let run = |fine: fn(char) -> bool| rest.find(|c| !fine(c)).unwrap_or(rest.len());
        let len = match b {
            b'\n' => {
                line += 1;
                1
            }
            b if b.is_ascii_whitespace() => 1,
            b'-' if rest.starts_with("--[") => {
                return Err(format!("line {line}: long comments are not read; use -- per line"));
            }
            b'-' if rest.starts_with("--") => run(|c| c != '\n'),
            b'[' if rest.starts_with("[[") || rest.starts_with("[=") => {
                return Err(format!("line {line}: long texts are not read; use quotes"));
            }
            b'"' | b'\'' => {
                let end = rest[1..].find(char::from(b));
                let end = end.ok_or_else(|| format!("line {line}: a text without end"))?;
                let text = &rest[1..=end];
                if text.contains(['\\', '\n']) {
                    return Err(format!("line {line}: no `\\` or line break in a text"));
                }
                out.push((line, Token::Text(text.to_string())));
                end + 2
            }
            b'0'..=b'9' => {
                out.push((line, Token::Number));
                run(|c| c.is_ascii_alphanumeric() || c == '.')
            }
            b if b.is_ascii_alphabetic() || b == b'_' => {
                let len = run(|c| c.is_ascii_alphanumeric() || c == '_');
                out.push((line, Token::Word(rest[..len].to_string())));
                len
            }
            b if b.is_ascii_punctuation() => {
                let two = ["==", "~=", "<=", ">=", ".."];
                let sign = two.into_iter().find(|s| rest.starts_with(*s)).unwrap_or(&rest[..1]);
                out.push((line, Token::Sign(sign.to_string())));
                sign.len()
            }
            _ => return Err(format!("line {line}: only plain characters outside of texts")),
        };
        at += len;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scripts_that_read_and_count_are_taken() {
        for script in [
            "return redis.call('LLEN', KEYS[1])",
            "-- depth of both\nlocal a = redis.call(\"LLEN\", KEYS[1])\nlocal b = \
             redis.call('ZCARD', KEYS[2])\nreturn a + b",
            "local n = 0 for _, k in ipairs(KEYS) do n = n + redis.call('SCARD', k) end return n",
            "local v = tonumber(redis.call('GET', KEYS[1])) if v == nil then return 0 end \
             return math.floor(v * 100)",
            "return {redis.call('HLEN', KEYS[1]), 2}",
            "if (redis.call('EXISTS', KEYS[1])) == 1 then return 1 else return 0 end",
        ] {
            check(script).unwrap_or_else(|e| panic!("{script}: {e}"));
        }
    }

    #[test]
    fn scripts_that_may_run_long_or_write_are_refused_with_line_and_reason() {
        for (script, why) in [
            ("while true do end", "never end"),
            ("return 1\nrepeat until false", "line 2"),
            ("for i = 1, 1e12 do end", "only over lists"),
            ("for k, v in pairs(t) do end", "only over lists"),
            ("local function f() return f() end", "`function`"),
            ("return redis.call('SET', 'a', 1)", "changes data"),
            ("return redis.call('KEYS', '*')", "KEYS"),
            ("return redis.call('SM' .. 'EMBERS', 'a')", "one text"),
            ("return redis.call(KEYS[1])", "as a text"),
            ("local r = redis return r.call('SET', 'a', 1)", "redis.call"),
            ("local c = redis.call return c('SET', 'a', 1)", "redis.call"),
            ("return redis['call']('SET')", "redis.call"),
            ("return _G['redis']", "`_G`"),
            ("local s = 'a' s = s .. s", "`..`"),
            ("return ('x'):rep(1e9)", "`:`"),
            ("return string.rep('x', 1e9)", "`string`"),
            ("t[1] = 2", "may not be changed"),
            ("t.x = 2", "may not be changed"),
            ("return loadstring('x')()", "`loadstring`"),
            ("local f = tonumber return f(1)", "may only be called"),
            ("return require 'x'", "parentheses"),
            ("--[[ x ]] return 1", "long comments"),
            ("return [[x]]", "long texts"),
            ("return t[1](2)", "listed function"),
            ("return '\\120'", "`\\`"),
            ("local m = math return m.huge", "`math`"),
            ("local t = {1} return {t, t}", "after `return`"),
            ("return {{1}}", "after `return`"),
            ("", "empty"),
        ] {
            let said = check(script).expect_err(script);
            assert!(said.contains(why), "{script}: {said}");
        }
        let nested = "for _, a in ipairs(KEYS) do ".repeat(3);
        assert!(check(&nested).unwrap_err().contains("loops"));
        assert!(check(&"x".repeat(5000)).unwrap_err().contains("bytes"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,100}|[a-z.()\\[\\]='\" \n-]{0,100}") {
            let _ = check(&text);
        }
    }
}
