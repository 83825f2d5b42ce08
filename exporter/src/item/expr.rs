//! Expressions over items and fields of INFO: `rate({jobs-done}) / (used_memory + 1)`.
//!
//! Invariant: total: every text is read or refused with the place, every expression ends, and its
//! value is a finite number or unknown. A division by zero is unknown, not zero. What is unknown
//! makes everything made of it unknown.

use model::field::Field;
use model::item::ItemName;

/// Longest text, bytes: what a person still reads.
pub(crate) const TEXT_MAX: usize = 500;
/// Deepest nesting: bounds the parser's own stack.
const DEPTH_MAX: usize = 32;

/// What an expression asks of its surroundings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Ask {
    /// The one value of an item without labels.
    Item(ItemName),
    /// All series of an item together.
    Fold(Fold, ItemName),
    /// A field of INFO, in the unit of its series.
    Field(Field),
    /// Change a second of an item's one value.
    ItemRate(ItemName),
    /// Change a second of a field.
    FieldRate(Field),
}

/// How the series of an item become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fold {
    Sum,
    Min,
    Max,
    Count,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Number(f64),
    Ask(Ask),
    Negative(Box<Node>),
    Binary(Op, Box<Node>, Box<Node>),
    Least(Vec<Node>),
    Greatest(Vec<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Lt,
    Le,
    Gt,
    Ge,
    Eq,
    Ne,
}

impl Op {
    /// How tightly it binds.
    fn power(self) -> u8 {
        match self {
            Op::Mul | Op::Div => 3,
            Op::Add | Op::Sub => 2,
            _ => 1,
        }
    }

    /// None where there is no such number.
    fn apply(self, a: f64, b: f64) -> Option<f64> {
        let yes = |b: bool| Some(f64::from(u8::from(b)));
        match self {
            Op::Add => finite(a + b),
            Op::Sub => finite(a - b),
            Op::Mul => finite(a * b),
            Op::Div => finite(a / b),
            Op::Lt => yes(a < b),
            Op::Le => yes(a <= b),
            Op::Gt => yes(a > b),
            Op::Ge => yes(a >= b),
            Op::Eq => yes(a == b),
            Op::Ne => yes(a != b),
        }
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// A compiled expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expr {
    root: Node,
    asks: Vec<Ask>,
}

impl Expr {
    /// Reads an expression; the error names the place.
    pub(crate) fn parse(text: &str) -> Result<Expr, String> {
        if text.len() > TEXT_MAX {
            return Err(format!("longer than {TEXT_MAX} characters"));
        }
        let mut parser = Parser { text, tokens: tokens(text)?, at: 0, depth: 0, asks: Vec::new() };
        let root = parser.expression(0)?;
        match parser.peek() {
            None => Ok(Expr { root, asks: parser.asks }),
            Some(_) => Err(parser.wrong("expected an operator or the end")),
        }
    }

    /// Everything it asks, in the order written.
    pub(crate) fn asks(&self) -> &[Ask] {
        &self.asks
    }

    /// Its value; `answer` answers what it asks.
    pub(crate) fn value(&self, answer: &impl Fn(Ask) -> Option<f64>) -> Option<f64> {
        eval(&self.root, answer)
    }
}

fn eval(node: &Node, answer: &impl Fn(Ask) -> Option<f64>) -> Option<f64> {
    let all = |nodes: &[Node]| nodes.iter().map(|n| eval(n, answer)).collect::<Option<Vec<f64>>>();
    match node {
        Node::Number(n) => Some(*n),
        Node::Ask(ask) => answer(*ask).and_then(finite),
        Node::Negative(inner) => eval(inner, answer).map(|v| -v),
        Node::Binary(op, a, b) => op.apply(eval(a, answer)?, eval(b, answer)?),
        Node::Least(nodes) => all(nodes)?.into_iter().reduce(f64::min),
        Node::Greatest(nodes) => all(nodes)?.into_iter().reduce(f64::max),
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'a> {
    Number(f64),
    Word(&'a str),
    Item(ItemName),
    Op(Op),
    Open,
    Close,
    Comma,
}

/// The tokens with their places.
fn tokens(text: &str) -> Result<Vec<(usize, Token<'_>)>, String> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let from = at;
        let next = bytes.get(at + 1).copied().unwrap_or(0);
        let length = |fine: fn(u8) -> bool| bytes[from..].iter().take_while(|b| fine(**b)).count();
        let (token, len) = match bytes[at] {
            b' ' | b'\t' | b'\n' | b'\r' => {
                at += 1;
                continue;
            }
            b'(' => (Token::Open, 1),
            b')' => (Token::Close, 1),
            b',' => (Token::Comma, 1),
            b'+' => (Token::Op(Op::Add), 1),
            b'-' => (Token::Op(Op::Sub), 1),
            b'*' => (Token::Op(Op::Mul), 1),
            b'/' => (Token::Op(Op::Div), 1),
            b'<' if next == b'=' => (Token::Op(Op::Le), 2),
            b'>' if next == b'=' => (Token::Op(Op::Ge), 2),
            b'=' if next == b'=' => (Token::Op(Op::Eq), 2),
            b'!' if next == b'=' => (Token::Op(Op::Ne), 2),
            b'<' => (Token::Op(Op::Lt), 1),
            b'>' => (Token::Op(Op::Gt), 1),
            b'{' => {
                let end = text[at..].find('}').ok_or_else(|| place(from, "`{` without `}`"))?;
                let name = ItemName::parse(&text[at + 1..at + end]).map_err(|e| place(from, &e))?;
                (Token::Item(name), end + 1)
            }
            b'0'..=b'9' | b'.' => {
                let len = length(|b| b.is_ascii_digit() || b == b'.');
                let number = text[from..from + len].parse::<f64>().ok();
                (Token::Number(number.ok_or_else(|| place(from, "not a number"))?), len)
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let len = length(|b| b.is_ascii_alphanumeric() || b == b'_');
                (Token::Word(&text[from..from + len]), len)
            }
            _ => return Err(place(from, "not a character of an expression")),
        };
        at += len;
        out.push((from, token));
    }
    Ok(out)
}

fn place(at: usize, what: &str) -> String {
    format!("at character {}: {what}", at + 1)
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(usize, Token<'a>)>,
    at: usize,
    depth: usize,
    asks: Vec<Ask>,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).map(|(_, token)| *token)
    }

    fn next(&mut self) -> Option<Token<'a>> {
        self.at += 1;
        self.tokens.get(self.at - 1).map(|(_, token)| *token)
    }

    fn wrong(&self, what: &str) -> String {
        place(self.tokens.get(self.at).map_or(self.text.len(), |(at, _)| *at), what)
    }

    fn expect(&mut self, token: Token<'_>, what: &str) -> Result<(), String> {
        if self.peek() != Some(token) {
            return Err(self.wrong(what));
        }
        self.at += 1;
        Ok(())
    }

    /// Everything that binds tighter than `power`.
    fn expression(&mut self, power: u8) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.wrong(&format!("nested deeper than {DEPTH_MAX}")));
        }
        let mut left = self.operand()?;
        while let Some(Token::Op(op)) = self.peek()
            && op.power() > power
        {
            self.at += 1;
            let right = self.expression(op.power())?;
            left = Node::Binary(op, Box::new(left), Box::new(right));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operand(&mut self) -> Result<Node, String> {
        let here = self.at;
        match self.next() {
            Some(Token::Number(n)) => Ok(Node::Number(n)),
            Some(Token::Item(name)) => Ok(self.ask(Ask::Item(name))),
            Some(Token::Op(Op::Sub)) => {
                // Binds tighter than any other operator.
                Ok(Node::Negative(Box::new(self.expression(u8::MAX)?)))
            }
            Some(Token::Open) => {
                let inner = self.expression(0)?;
                self.expect(Token::Close, "expected `)`")?;
                Ok(inner)
            }
            Some(Token::Word(word)) if self.peek() == Some(Token::Open) => {
                self.at += 1;
                self.call(word, here)
            }
            Some(Token::Word(word)) => {
                let field = self.field(word, here)?;
                Ok(self.ask(Ask::Field(field)))
            }
            _ => {
                self.at = here;
                Err(self.wrong("expected a number, a field, {item}, a function or `(`"))
            }
        }
    }

    fn ask(&mut self, ask: Ask) -> Node {
        self.asks.push(ask);
        Node::Ask(ask)
    }

    fn field(&mut self, word: &str, here: usize) -> Result<Field, String> {
        let known = Field::all().iter().copied();
        let found = known.into_iter().find(|f| f.info().name == word || f.info().metric == word);
        found.ok_or_else(|| {
            let at = self.tokens.get(here).map_or(0, |(at, _)| *at);
            place(at, &format!("{word:?} is no field of INFO that is known; items stand in braces"))
        })
    }

    fn call(&mut self, word: &str, here: usize) -> Result<Node, String> {
        let node = match word {
            "rate" => self.rate()?,
            "sum" | "count" => self.fold(word)?,
            // Of one item: over its series; of several values: the least or greatest of them.
            "min" | "max" if self.is_one_item() => self.fold(word)?,
            "min" => Node::Least(self.arguments()?),
            "max" => Node::Greatest(self.arguments()?),
            _ => {
                self.at = here;
                return Err(self.wrong("expected rate, min, max, sum or count"));
            }
        };
        self.expect(Token::Close, "expected `)`")?;
        Ok(node)
    }

    fn is_one_item(&self) -> bool {
        let token = |n: usize| self.tokens.get(self.at + n).map(|(_, t)| *t);
        matches!((token(0), token(1)), (Some(Token::Item(_)), Some(Token::Close)))
    }

    fn rate(&mut self) -> Result<Node, String> {
        let here = self.at;
        match self.next() {
            Some(Token::Item(name)) => Ok(self.ask(Ask::ItemRate(name))),
            Some(Token::Word(word)) => {
                let field = self.field(word, here)?;
                Ok(self.ask(Ask::FieldRate(field)))
            }
            _ => {
                self.at = here;
                Err(self.wrong("rate takes one {item} or one field"))
            }
        }
    }

    fn fold(&mut self, word: &str) -> Result<Node, String> {
        let fold = match word {
            "sum" => Fold::Sum,
            "min" => Fold::Min,
            "max" => Fold::Max,
            _ => Fold::Count,
        };
        match self.peek() {
            Some(Token::Item(name)) => {
                self.at += 1;
                Ok(self.ask(Ask::Fold(fold, name)))
            }
            _ => Err(self.wrong(&format!("{word} takes one {{item}}"))),
        }
    }

    fn arguments(&mut self) -> Result<Vec<Node>, String> {
        let mut all = vec![self.expression(0)?];
        while self.peek() == Some(Token::Comma) {
            self.at += 1;
            all.push(self.expression(0)?);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(text: &str) -> Option<f64> {
        let jobs = ItemName::parse("jobs-done").unwrap();
        Expr::parse(text).unwrap().value(&|ask| match ask {
            Ask::Item(name) if name == jobs => Some(10.0),
            Ask::ItemRate(name) if name == jobs => Some(0.5),
            Ask::Fold(Fold::Count, _) => Some(3.0),
            Ask::Field(Field::UsedMemory) => Some(100.0),
            _ => None,
        })
    }

    #[test]
    fn arithmetic_binds_as_in_school() {
        for (text, wanted) in [
            ("1 + 2 * 3", 7.0),
            ("(1 + 2) * 3", 9.0),
            ("10 - 4 - 3", 3.0),
            ("-2 * -3", 6.0),
            ("8 / 2 / 2", 2.0),
            ("1 + 1 == 2", 1.0),
            ("2 < 1", 0.0),
            ("min(3, 1 + 1, 9) + max(1, 2)", 4.0),
            ("{jobs-done} / used_memory", 0.1),
            ("{jobs-done}-1", 9.0),
            ("rate({jobs-done}) * 60", 30.0),
            ("count({jobs-done})", 3.0),
            ("redis_memory_used_bytes", 100.0),
        ] {
            assert_eq!(value(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn a_division_by_zero_is_unknown_and_so_is_all_that_is_made_of_it() {
        for text in ["1 / 0", "0 / 0", "1 + 1 / (2 - 2)", "max(1, 1 / 0)", "(1 / 0) == (1 / 0)"] {
            assert_eq!(value(text), None, "{text}");
        }
        assert_eq!(value("{unknown} + 1"), None);
        assert_eq!(value("used_memory_rss * 0"), None);
    }

    #[test]
    fn a_text_that_is_no_expression_is_refused_with_the_place() {
        let deep = "(".repeat(40);
        for (text, at, why) in [
            ("", 1, "expected a number"),
            ("1 +", 4, "expected a number"),
            ("1 1", 3, "operator"),
            ("nonsense", 1, "no field"),
            ("{Bad}", 1, "item name"),
            ("{a", 1, "without"),
            ("rate(1)", 6, "rate takes"),
            ("sum(1)", 5, "sum takes"),
            ("exec(1)", 1, "expected rate"),
            ("1 & 2", 3, "not a character"),
            ("1.2.3", 1, "not a number"),
            ("(1", 3, "expected `)`"),
            (&deep, 33, "deeper"),
        ] {
            let said = Expr::parse(text).expect_err(text);
            let place = format!("at character {at}: ");
            assert!(said.starts_with(&place) && said.contains(why), "{text:?}: {said}");
        }
    }

    /// An expression beside the text it is read from.
    fn any_expression() -> impl Strategy<Value = (String, Option<f64>)> {
        let leaf = (0u32..9).prop_map(|n| (n.to_string(), Some(f64::from(n))));
        leaf.prop_recursive(4, 40, 2, |inner| {
            (inner.clone(), inner, 0usize..10).prop_map(|((a, x), (b, y), op)| {
                let signs = ["+", "-", "*", "/", "<", "<=", ">", ">=", "==", "!="];
                let yes = |b: bool| f64::from(u8::from(b));
                let value = x.zip(y).and_then(|(x, y)| match op {
                    0 => Some(x + y),
                    1 => Some(x - y),
                    2 => Some(x * y),
                    3 => (y != 0.0).then(|| x / y),
                    4 => Some(yes(x < y)),
                    5 => Some(yes(x <= y)),
                    6 => Some(yes(x > y)),
                    7 => Some(yes(x >= y)),
                    8 => Some(yes(x == y)),
                    _ => Some(yes(x != y)),
                });
                (format!("({a} {} {b})", signs[op]), value)
            })
        })
    }

    proptest! {
        #[test]
        fn an_expression_means_what_is_written((text, wanted) in any_expression()) {
            prop_assume!(text.len() <= TEXT_MAX);
            let got = Expr::parse(&text).unwrap().value(&|_| None);
            prop_assert_eq!(got, wanted.filter(|v| v.is_finite()));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,80}") {
            let _ = Expr::parse(&text);
        }

        #[test]
        fn right_looking_text_gives_a_finite_number_or_none(
            text in "([0-9.]{1,3}|[-+*/(),<>]|==|min|max|rate|\\{a\\}|used_memory| ){0,25}"
        ) {
            if let Ok(read) = Expr::parse(&text) {
                let value = read.value(&|_| Some(1e300));
                prop_assert!(value.is_none_or(f64::is_finite));
            }
        }
    }
}
