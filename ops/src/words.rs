//! Splitting a line into words the way Redis' own tools do: for configuration files and for what a
//! person types into the console.
//!
//! Invariant: a line is split whole or refused; no byte is lost or invented. Refuses to know what the
//! words mean.

/// The words of a line: separated by blanks, quoted by `"` (with `\n`, `\xHH` … inside) or `'`.
///
/// # Errors
/// A quote that is not closed, or something that follows a closing quote without a blank.
pub fn split(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut rest = line.as_bytes();
    let mut words = Vec::new();
    loop {
        while let [b, tail @ ..] = rest
            && b.is_ascii_whitespace()
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(words);
        }
        let (word, tail) = word(rest)?;
        words.push(word);
        rest = tail;
    }
}

fn word(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), String> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] => return Ok((word, rest)),
            [b, ..] if b.is_ascii_whitespace() => return Ok((word, rest)),
            [quote @ (b'"' | b'\''), tail @ ..] => {
                rest = quoted(*quote, tail, &mut word)?;
                if rest.first().is_some_and(|b| !b.is_ascii_whitespace()) {
                    return Err("a closing quote must be followed by a blank".into());
                }
            }
            [b, tail @ ..] => {
                word.push(*b);
                rest = tail;
            }
        }
    }
}

fn quoted<'a>(quote: u8, mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], String> {
    loop {
        rest = match rest {
            [] => return Err("a quote is not closed".into()),
            [b, tail @ ..] if *b == quote => return Ok(tail),
            [b'\\', b'\'', tail @ ..] if quote == b'\'' => {
                word.push(b'\'');
                tail
            }
            [b'\\', b'x', high, low, tail @ ..] if quote == b'"' && hex(*high, *low).is_some() => {
                word.extend(hex(*high, *low));
                tail
            }
            [b'\\', b, tail @ ..] if quote == b'"' => {
                word.push(match b {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                tail
            }
            [b, tail @ ..] => {
                word.push(*b);
                tail
            }
        };
    }
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    Some((digit(high)? * 16 + digit(low)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(line: &str) -> Vec<String> {
        let words = split(line).unwrap();
        words.into_iter().map(|w| String::from_utf8(w).unwrap()).collect()
    }

    #[test]
    fn words_quotes_and_escapes_are_those_of_redis() {
        assert_eq!(texts("  set  a\tb "), ["set", "a", "b"]);
        assert_eq!(texts(r#"set "a b" 'it\'s' "\x41\n\"""#), ["set", "a b", "it's", "A\n\""]);
        assert_eq!(texts(r#"save """#), ["save", ""]);
        assert_eq!(texts(r"a\nb"), [r"a\nb"], "no escapes outside of quotes");
        assert!(texts("").is_empty());
        assert!(split("set \"a").is_err());
        assert!(split("set \"a\"b").is_err());
    }

    proptest! {
        #[test]
        fn quoted_bytes_come_back(words in proptest::collection::vec(any::<Vec<u8>>(), 0..6)) {
            let quoted = |w: &Vec<u8>| {
                let inner: String = w.iter().map(|b| format!("\\x{b:02x}")).collect();
                format!("\"{inner}\"")
            };
            let line: Vec<String> = words.iter().map(quoted).collect();
            prop_assert_eq!(split(&line.join(" ")).unwrap(), words);
        }

        #[test]
        fn any_line_is_split_or_refused(line in "\\PC{0,60}") {
            let _ = split(&line);
        }
    }
}
