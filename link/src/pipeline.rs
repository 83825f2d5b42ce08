//! Commands packed once, sent many times.
//!
//! Invariant: the bytes are RESP arrays of bulk strings, so no argument can become a second command;
//! each command carries the byte budget of its reply.

/// Budget of a reply to INFO, bytes: a large real one is 100 kB, and error names are written by
/// clients without limit on old servers.
pub(crate) const INFO_BYTES_MAX: usize = 4 << 20;
/// Budget of any other reply, bytes.
pub(crate) const REPLY_BYTES_MAX: usize = 1 << 20;

/// A pipeline ready to send.
#[derive(Clone)]
pub struct Pipeline {
    packed: Vec<u8>,
    budgets: Vec<usize>,
}

impl Pipeline {
    /// Packs the commands; each is a non-empty list of arguments.
    pub fn new(commands: &[&[&str]]) -> Pipeline {
        let mut packed = Vec::with_capacity(32 * commands.len());
        let budgets = commands.iter().map(|args| budget(args)).collect();
        commands.iter().for_each(|args| pack(&mut packed, args));
        Pipeline { packed, budgets }
    }

    /// Packs commands whose arguments are bytes: what a person typed need not be text.
    pub fn of_bytes(commands: &[Vec<Vec<u8>>]) -> Pipeline {
        let mut packed = Vec::with_capacity(32 * commands.len());
        for args in commands {
            pack(&mut packed, args);
        }
        let name =
            |args: &Vec<Vec<u8>>| args.first().is_some_and(|n| n.eq_ignore_ascii_case(b"info"));
        let budget = |args| if name(args) { INFO_BYTES_MAX } else { REPLY_BYTES_MAX };
        Pipeline { packed, budgets: commands.iter().map(budget).collect() }
    }

    /// Packs commands whose arguments may be any bytes, such as keys.
    pub fn raw(commands: &[&[&[u8]]]) -> Pipeline {
        let mut packed = Vec::with_capacity(64 * commands.len());
        commands.iter().for_each(|args| pack(&mut packed, args));
        Pipeline { packed, budgets: vec![REPLY_BYTES_MAX; commands.len()] }
    }

    /// Packs the commands; the reply to each has that many bytes at most, and never more than by
    /// `new`.
    pub fn bounded(commands: &[&[&str]], bytes: usize) -> Pipeline {
        let mut pipeline = Pipeline::new(commands);
        pipeline.budgets.iter_mut().for_each(|budget| *budget = bytes.min(*budget));
        pipeline
    }

    /// Number of commands, and so of replies.
    pub fn len(&self) -> usize {
        self.budgets.len()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.budgets.is_empty()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.packed
    }

    pub(crate) fn budgets(&self) -> &[usize] {
        &self.budgets
    }
}

/// Byte budget of the reply to a command.
pub(crate) fn budget(args: &[&str]) -> usize {
    match args.first() {
        Some(name) if name.eq_ignore_ascii_case("info") => INFO_BYTES_MAX,
        _ => REPLY_BYTES_MAX,
    }
}

/// Appends one command as a RESP array.
pub(crate) fn pack<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    let mut number = itoa::Buffer::new();
    out.push(b'*');
    out.extend_from_slice(number.format(args.len()).as_bytes());
    out.extend_from_slice(b"\r\n");
    for arg in args {
        let arg = arg.as_ref();
        out.push(b'$');
        out.extend_from_slice(number.format(arg.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_with_a_line_break_stays_one_argument() {
        let p = Pipeline::new(&[&["INFO", "a\r\nb"], &["ROLE"]]);
        assert_eq!(p.bytes(), b"*2\r\n$4\r\nINFO\r\n$4\r\na\r\nb\r\n*1\r\n$4\r\nROLE\r\n");
        assert_eq!(p.budgets(), [INFO_BYTES_MAX, REPLY_BYTES_MAX]);
    }
}
