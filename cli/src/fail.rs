//! How a command ends: the message and the exit code.
//!
//! Invariant: 0 done, 1 failed, 2 usage, 3 refused, 4 not found, 5 unavailable, 130 detached; a
//! problem of the server is printed with its code, its detail and the next step.

use model::code::Problem;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub enum Fail {
    /// The server's own words.
    Problem(Box<Problem>),
    /// The server cannot be reached.
    Unreachable(String),
    /// The command line, or a file it names, is wrong.
    Usage(String),
    /// Done, but not to a good end.
    Ended(String),
    /// Refused at the end.
    Refused(String),
    /// Ctrl-C while something goes on by itself; the command that comes back to it.
    Detached(String),
    /// Anything else.
    Other(anyhow::Error),
}

impl Fail {
    /// Exit code.
    pub fn code(&self) -> u8 {
        match self {
            Fail::Problem(p) => match p.status {
                403 | 409 | 422 | 428 => 3,
                404 => 4,
                429 | 503 => 5,
                _ => 1,
            },
            Fail::Unreachable(_) => 5,
            Fail::Usage(_) => 2,
            Fail::Refused(_) => 3,
            Fail::Ended(_) | Fail::Other(_) => 1,
            Fail::Detached(_) => 130,
        }
    }

    /// Prints it on standard error.
    pub fn print(&self) {
        match self {
            Fail::Problem(p) => {
                eprintln!("{}: {}", p.code, p.detail);
                for e in &p.errors {
                    let (pointer, detail) = (e["pointer"].as_str(), e["detail"].as_str());
                    if let (Some(pointer), Some(detail)) = (pointer, detail)
                        && detail != p.detail
                    {
                        eprintln!("  {pointer}: {detail}");
                    }
                }
                eprintln!("next: {}", p.next);
                if p.status >= 500 {
                    eprintln!("request: {}", p.request_id);
                }
            }
            Fail::Unreachable(text) => {
                eprintln!("{text}");
                eprintln!("next: check --url, CACHEWARDEN_URL, and that the server runs");
            }
            Fail::Usage(text) | Fail::Ended(text) | Fail::Refused(text) => eprintln!("{text}"),
            Fail::Detached(command) => {
                eprintln!("\ndetached; it goes on. Come back with\n  {command}")
            }
            Fail::Other(e) => eprintln!("{e:#}"),
        }
    }
}

impl From<anyhow::Error> for Fail {
    fn from(e: anyhow::Error) -> Fail {
        Fail::Other(e)
    }
}

impl From<std::io::Error> for Fail {
    fn from(e: std::io::Error) -> Fail {
        Fail::Other(e.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::code::Code;

    #[test]
    fn each_status_has_the_exit_code_that_is_promised() {
        let code = |c: Code| Fail::Problem(Box::new(Problem::new(c, "", ""))).code();
        assert_eq!([Code::RightMissing, Code::PlanMoved, Code::Confirmation].map(code), [3, 3, 3]);
        assert_eq!([Code::NotFound, Code::NotWritable, Code::Malformed].map(code), [4, 5, 1]);
        assert_eq!(Fail::Unreachable(String::new()).code(), 5);
        assert_eq!(Fail::Detached(String::new()).code(), 130);
    }
}
