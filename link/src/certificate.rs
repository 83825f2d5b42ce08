//! When a certificate ends, read from its DER.
//!
//! Invariant: walks headers only and never beyond the bytes it was given; what does not parse has no
//! end that we know. Judges nothing: whether a certificate may be trusted is rustls' to say.

/// DER tags met on the way.
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Seconds since 1970 at which the certificate ends (`notAfter`).
pub(crate) fn ends_at(der: &[u8]) -> Option<i64> {
    let (_, certificate, _) = element(der, Some(SEQUENCE))?;
    let (_, to_be_signed, _) = element(certificate, Some(SEQUENCE))?;
    let rest = match element(to_be_signed, Some(VERSION)) {
        Some((_, _, rest)) => rest,
        None => to_be_signed,
    };
    // serial number, signature algorithm, issuer
    let rest = (0..3).try_fold(rest, |rest, _| element(rest, None).map(|(_, _, rest)| rest))?;
    let (_, validity, _) = element(rest, Some(SEQUENCE))?;
    let (_, _, rest) = element(validity, None)?;
    let (tag, text, _) = element(rest, None)?;
    time(tag, text)
}

/// Tag, content and what follows of the first element.
fn element(bytes: &[u8], wanted: Option<u8>) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    if wanted.is_some_and(|w| w != tag) {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // Four bytes of length are 4 GiB, more than any reply.
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0usize, |n, d| n << 8 | usize::from(*d)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`, the two forms a certificate may use.
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |part: &[u8]| part.iter().fold(0i64, |n, d| n * 10 + i64::from(d - b'0'));
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = number(&digits[..2]);
            (if year < 50 { 2000 + year } else { 1900 + year }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let part = |i: usize| number(&rest[2 * i..2 * i + 2]);
    let (month, day) = (part(0), part(1));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(days(year, month, day) * 86_400 + part(2) * 3600 + part(3) * 60 + part(4))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, counting years from March so that the
/// leap day is a year's last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_count_from_1970_and_know_leap_years() {
        for (text, seconds) in [
            (&b"19700101000000Z"[..], 0),
            (b"20000229000000Z", 951_782_400),
            (b"20240229235959Z", 1_709_251_199),
            (b"21000301000000Z", 4_107_542_400),
        ] {
            assert_eq!(time(GENERALIZED_TIME, text), Some(seconds));
        }
        assert_eq!(time(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(time(UTC_TIME, b"490101000000Z"), Some(2_493_072_000));
        for bad in [&b"19701301000000Z"[..], b"1970010100000Z", b"19700101000000", b""] {
            assert_eq!(time(GENERALIZED_TIME, bad), None);
        }
    }

    #[test]
    fn the_end_stands_behind_version_serial_algorithm_and_issuer() {
        let time = |text: &[u8]| [&[UTC_TIME, text.len() as u8], text].concat();
        let validity = [time(b"200101000000Z"), time(b"300101000000Z")].concat();
        let mut fields = vec![VERSION, 3, 2, 1, 2, 2, 1, 7, SEQUENCE, 0, SEQUENCE, 0];
        fields.extend([SEQUENCE, validity.len() as u8]);
        fields.extend(&validity);
        let inner = [vec![SEQUENCE, 0x81, fields.len() as u8], fields].concat();
        let whole = [vec![SEQUENCE, 0x81, inner.len() as u8], inner].concat();
        assert_eq!(ends_at(&whole), Some(1_893_456_000));
        for end in 0..whole.len() {
            assert_eq!(ends_at(&whole[..end]), None, "cut at {end}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ends_at(&bytes);
        }
    }
}
