//! Values of simple constant expressions.

/// A number, or a time in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value {
    Number(u128),
    Time(u128),
}

const SECOND: u128 = 1_000_000_000;

/// Units of time, and of bytes.
const TIMES: [(u128, &str); 7] = [
    (24 * 3600 * SECOND, "d"),
    (3600 * SECOND, "h"),
    (60 * SECOND, "min"),
    (SECOND, "s"),
    (1_000_000, "ms"),
    (1_000, "µs"),
    (1, "ns"),
];
const SIZES: [(u128, &str); 4] =
    [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "bytes")];

impl Value {
    /// For people. A number is one of bytes if what it bounds says so.
    pub(super) fn show(self, what: &str) -> String {
        let largest = |value: u128, units: &[(u128, &str)]| {
            let (unit, name) =
                units.iter().find(|(unit, _)| value >= *unit && value.is_multiple_of(*unit))?;
            Some(format!("{} {name}", grouped(value / unit)))
        };
        match self {
            Self::Time(nanoseconds) => largest(nanoseconds, &TIMES),
            Self::Number(number) if what.contains("byte") => largest(number, &SIZES),
            Self::Number(number) => Some(grouped(number)),
        }
        .unwrap_or_else(|| "0".to_owned())
    }

    fn combine(self, operator: char, other: Self) -> Option<Self> {
        use Value::{Number, Time};
        let apply = |a: u128, b: u128| match operator {
            '+' => a.checked_add(b),
            '-' => a.checked_sub(b),
            '*' => a.checked_mul(b),
            '/' => a.checked_div(b),
            '<' => a.checked_shl(u32::try_from(b).ok()?),
            _ => None,
        };
        match (self, other) {
            (Number(a), Number(b)) => apply(a, b).map(Number),
            (Time(a), Time(b)) if "+-".contains(operator) => apply(a, b).map(Time),
            (Time(a), Number(b)) if "*/".contains(operator) => apply(a, b).map(Time),
            _ => None,
        }
    }
}

/// With commas between groups of three digits.
fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The value of an expression of numbers, other constants, arithmetic and
/// `Duration`'s constructors; `None` for any other.
pub(super) fn evaluate(text: &str, constant: &dyn Fn(&str) -> Option<Value>) -> Option<Value> {
    let mut parser = Parser { rest: text, constant };
    let value = parser.sum()?;
    parser.rest.trim().is_empty().then_some(value)
}

struct Parser<'a> {
    rest: &'a str,
    constant: &'a dyn Fn(&str) -> Option<Value>,
}

impl<'a> Parser<'a> {
    fn take(&mut self, expected: &str) -> bool {
        self.rest = self.rest.trim_start();
        let rest = self.rest.strip_prefix(expected);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Operators of the same precedence, from left to right.
    fn chain(
        &mut self,
        operators: &[&str],
        operand: impl Fn(&mut Self) -> Option<Value>,
    ) -> Option<Value> {
        let mut value = operand(self)?;
        while let Some(operator) = operators.iter().find(|operator| self.take(operator)) {
            value = value.combine(operator.chars().next()?, operand(self)?)?;
        }
        Some(value)
    }

    fn sum(&mut self) -> Option<Value> {
        self.chain(&["<<"], |parser| {
            parser.chain(&["+", "-"], |parser| parser.chain(&["*", "/"], Self::operand))
        })
    }

    fn operand(&mut self) -> Option<Value> {
        let value = if self.take("(") {
            let value = self.sum()?;
            self.take(")").then_some(value)?
        } else {
            let word = self.word();
            if self.take("(") {
                let Value::Number(number) = self.sum()? else { return None };
                self.take(",");
                self.take(")").then_some(())?;
                Value::Time(number.checked_mul(unit(word)?)?)
            } else if word.starts_with(|c: char| c.is_ascii_digit()) {
                number(word)?
            } else {
                (self.constant)(word)?
            }
        };
        while self.take("as ") {
            self.word();
        }
        Some(value)
    }

    /// A number, or a path.
    fn word(&mut self) -> &'a str {
        let rest = self.rest.trim_start();
        let part = |c: char| c == '_' || c == ':' || c.is_ascii_alphanumeric();
        let end = rest.find(|c| !part(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        self.rest = after;
        word
    }
}

fn number(word: &str) -> Option<Value> {
    let text = word.replace('_', "");
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16),
        // Without its type, as in `5u64`.
        None => text.split(['u', 'i']).next().unwrap_or_default().parse(),
    };
    parsed.ok().map(Value::Number)
}

/// The unit of a constructor of `Duration`.
fn unit(path: &str) -> Option<u128> {
    let name = path
        .strip_prefix("Duration::from_")
        .or(path.split_once("::Duration::from_").map(|(_, name)| name))?;
    Some(match name {
        "hours" => 3600 * SECOND,
        "mins" => 60 * SECOND,
        "secs" => SECOND,
        "millis" => 1_000_000,
        "micros" => 1_000,
        "nanos" => 1,
        _ => return None,
    })
}

#[test]
fn expressions_are_evaluated() {
    let constant = |path: &str| (path == "a::B").then_some(Value::Number(3));
    for (text, what, expected) in [
        ("16 * 1024 * 1024", "bytes of a body", Some("16 MiB")),
        ("4 * 1024 * 1024 - 64 * 1024", "bytes", Some("4,032 KiB")),
        ("100", "bytes", Some("100 bytes")),
        ("10_000", "entries", Some("10,000")),
        ("a::B as u64 * (1 + 2)", "entries", Some("9")),
        ("1 << 20", "bytes", Some("1 MiB")),
        ("Duration::from_hours(a::B * 8)", "", Some("1 d")),
        ("Duration::from_millis(1500)", "", Some("1,500 ms")),
        ("size_of::<u8>()", "bytes", None),
        ("other", "", None),
        ("0", "bytes", Some("0")),
    ] {
        let value = evaluate(text, &constant).map(|value| value.show(what));
        assert_eq!(value.as_deref(), expected, "{text}");
    }
}
