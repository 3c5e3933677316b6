//! The score of a candidate: an expression over what the model predicts of it and
//! the numbers that the request gives.
//!
//! ```text
//! sum     = product (("+" | "-") product)*
//! product = signed (("*" | "/") signed)*
//! signed  = "-" signed | power
//! power   = value ("^" signed)?
//! value   = number | "(" sum ")" | function "(" sum ("," sum)* ")" | variable
//! variable = task "." ("given_parent" | "from_impression") | field
//! ```
//!
//! Functions are `min` and `max` of two or more, `log` (natural), `exp`, `sqrt` and
//! `abs` of one. A name that is not made of letters, digits and `_` stands in
//! backticks. A power binds tighter than the sign before it and is read from the
//! right, as in mathematics. What is missing or undefined stays so: whatever is
//! computed from a NaN is a NaN.

use thiserror::Error;

use crosstie::spelling;

use crate::failure::Failure;

/// Bytes that a formula may have at most.
pub const LONGEST: usize = 4096;
/// How deep parentheses, signs and powers may be nested.
pub const DEEPEST: usize = 64;

const FUNCTIONS: [(&str, Step); 6] = [
    ("min", Step::Least(2)),
    ("max", Step::Greatest(2)),
    ("log", Step::Logarithm),
    ("exp", Step::Exponential),
    ("sqrt", Step::Root),
    ("abs", Step::Absolute),
];
const GIVEN_PARENT: &str = "given_parent";
const FROM_IMPRESSION: &str = "from_impression";

/// A formula, ready to be computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Formula {
    text: String,
    /// In postfix order.
    steps: Vec<Step>,
    fields: Vec<Named>,
}

/// A field of the request that a formula reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// The character at which it first stands, from 1.
    pub character: usize,
}

/// Why a text is no formula.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("character {character}: found {found}, expected {expected}")]
pub struct FormulaError {
    /// Where, from 1.
    pub character: usize,
    /// What was found there.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

impl From<FormulaError> for Failure {
    fn from(FormulaError { character, found, expected }: FormulaError) -> Failure {
        Failure::field("formula", format!("{found} at character {character}"), expected)
    }
}

/// What a formula reads of one candidate.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// Per task.
    pub given_parent: &'a [f64],
    /// Per task.
    pub from_impression: &'a [f64],
    /// Per field of [`Formula::fields`]; NaN where it is missing.
    pub fields: &'a [f64],
}

/// Takes its operands from a stack, and leaves its result there.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Number(f64),
    GivenParent(usize),
    FromImpression(usize),
    Field(usize),
    Negate,
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
    /// Of so many.
    Least(usize),
    /// Of so many.
    Greatest(usize),
    Logarithm,
    Exponential,
    Root,
    Absolute,
}

impl Formula {
    /// Reads a formula over these tasks.
    ///
    /// # Errors
    /// The place, what was found there and what was expected.
    pub fn parse(text: &str, tasks: &[String]) -> Result<Formula, FormulaError> {
        if text.len() > LONGEST {
            let (found, expected) = (format!("{} bytes", text.len()), format!("at most {LONGEST}"));
            return Err(FormulaError { character: 1, found, expected });
        }
        let mut parser = Parser { text, tasks, at: 0, depth: 0, steps: Vec::new(), fields: Vec::new() };
        parser.sum()?;
        parser.skip();
        if parser.at < text.len() {
            return Err(parser.expected("an operator, or the end"));
        }
        Ok(Formula { text: text.into(), steps: parser.steps, fields: parser.fields })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The fields of the request that it reads, in the order in which they first stand.
    pub fn fields(&self) -> &[Named] {
        &self.fields
    }

    /// The score of one candidate; not finite where the formula has no value. `stack`
    /// is memory that is kept between calls.
    ///
    /// # Panics
    /// If there are fewer tasks or fields than the formula was parsed with.
    pub fn score(&self, values: Values<'_>, stack: &mut Vec<f64>) -> f64 {
        stack.clear();
        for step in &self.steps {
            step.take(values, stack);
        }
        stack.pop().unwrap_or(f64::NAN)
    }
}

impl Step {
    fn take(self, values: Values<'_>, stack: &mut Vec<f64>) {
        match self {
            Step::Number(number) => stack.push(number),
            Step::GivenParent(task) => stack.push(values.given_parent[task]),
            Step::FromImpression(task) => stack.push(values.from_impression[task]),
            Step::Field(field) => stack.push(values.fields[field]),
            Step::Negate => one(stack, |x| -x),
            Step::Logarithm => one(stack, f64::ln),
            Step::Exponential => one(stack, f64::exp),
            Step::Root => one(stack, f64::sqrt),
            Step::Absolute => one(stack, f64::abs),
            Step::Add => two(stack, |x, y| x + y),
            Step::Subtract => two(stack, |x, y| x - y),
            Step::Multiply => two(stack, |x, y| x * y),
            Step::Divide => two(stack, |x, y| x / y),
            Step::Power => two(stack, f64::powf),
            Step::Least(of) => (1..of).for_each(|_| two(stack, f64::min)),
            Step::Greatest(of) => (1..of).for_each(|_| two(stack, f64::max)),
        }
    }
}

fn one(stack: &mut [f64], f: impl Fn(f64) -> f64) {
    if let Some(last) = stack.last_mut() {
        *last = f(*last);
    }
}

/// `f` of the last two. A NaN stays one, which `min`, `max` and a power of 0 would hide.
fn two(stack: &mut Vec<f64>, f: impl Fn(f64, f64) -> f64) {
    let right = stack.pop().unwrap_or(f64::NAN);
    one(stack, |left| if left.is_nan() || right.is_nan() { f64::NAN } else { f(left, right) });
}

struct Parser<'a> {
    text: &'a str,
    tasks: &'a [String],
    /// Byte of the text.
    at: usize,
    depth: usize,
    steps: Vec<Step>,
    fields: Vec<Named>,
}

type Parsed<T = ()> = Result<T, FormulaError>;

impl<'a> Parser<'a> {
    fn sum(&mut self) -> Parsed {
        self.deeper(|parser| {
            parser.product()?;
            while let Some(step) = parser.operator(&[('+', Step::Add), ('-', Step::Subtract)]) {
                parser.product()?;
                parser.steps.push(step);
            }
            Ok(())
        })
    }

    fn product(&mut self) -> Parsed {
        self.signed()?;
        while let Some(step) = self.operator(&[('*', Step::Multiply), ('/', Step::Divide)]) {
            self.signed()?;
            self.steps.push(step);
        }
        Ok(())
    }

    fn signed(&mut self) -> Parsed {
        self.deeper(|parser| match parser.operator(&[('-', Step::Negate)]) {
            Some(step) => {
                parser.signed()?;
                parser.steps.push(step);
                Ok(())
            }
            None => {
                parser.value()?;
                if let Some(step) = parser.operator(&[('^', Step::Power)]) {
                    parser.signed()?;
                    parser.steps.push(step);
                }
                Ok(())
            }
        })
    }

    fn value(&mut self) -> Parsed {
        self.skip();
        let start = self.at;
        match self.rest().chars().next() {
            Some('(') => {
                self.at += 1;
                self.sum()?;
                self.symbol(')', "`)`, or an operator")
            }
            Some(digit) if digit.is_ascii_digit() || digit == '.' => self.number(),
            Some('`') => {
                let name = self.quoted()?;
                self.variable(start, name)
            }
            Some(letter) if letter == '_' || letter.is_alphabetic() => {
                let name = self.word();
                self.skip();
                if self.rest().starts_with('(') { self.function(start, name) } else { self.variable(start, name) }
            }
            _ => Err(self.expected("a number, a task, a field, a function or `(`")),
        }
    }

    fn number(&mut self) -> Parsed {
        let bytes = self.text.as_bytes();
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let mut end = digits(self.at);
        if bytes.get(end) == Some(&b'.') {
            end = digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            end = digits(end + 1 + sign);
        }
        let written = &self.text[self.at..end];
        match written.parse::<f64>() {
            Ok(number) if number.is_finite() => {
                self.steps.push(Step::Number(number));
                self.at = end;
                Ok(())
            }
            _ => Err(self.error(self.at, format!("`{written}`"), "a number that can be computed with")),
        }
    }

    /// A name between backticks.
    fn quoted(&mut self) -> Parsed<&'a str> {
        let inside = &self.text[self.at + 1..];
        match inside.find('`') {
            Some(0) | None => Err(self.error(self.at, "a backtick".into(), "a name between two of them")),
            Some(length) => {
                self.at += length + 2;
                Ok(&inside[..length])
            }
        }
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|letter: char| letter != '_' && !letter.is_alphanumeric()).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// The parentheses behind a function's name.
    fn function(&mut self, start: usize, name: &str) -> Parsed {
        let Some((_, step)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
            let hint = spelling::hint(name, FUNCTIONS.iter().map(|(known, _)| *known));
            return Err(self.error(start, format!("`{name}`"), &format!("a function{hint}")));
        };
        self.at += 1;
        self.sum()?;
        let mut of = 1;
        while self.accept(',') {
            self.sum()?;
            of += 1;
        }
        self.symbol(')', "`)`, `,` or an operator")?;
        let (step, fits, expected) = match step {
            Step::Least(_) => (Step::Least(of), of > 1, "two values or more"),
            Step::Greatest(_) => (Step::Greatest(of), of > 1, "two values or more"),
            one => (*one, of == 1, "one value"),
        };
        if !fits {
            return Err(self.error(start, format!("`{name}` of {of}"), expected));
        }
        self.steps.push(step);
        Ok(())
    }

    /// A task's probability if a dot follows, else a field.
    fn variable(&mut self, start: usize, name: &str) -> Parsed {
        if !self.accept('.') {
            if self.tasks.iter().any(|task| task == name) {
                let expected = format!("`{name}.{FROM_IMPRESSION}` or `{name}.{GIVEN_PARENT}`");
                return Err(self.error(start, format!("the task `{name}` alone"), &expected));
            }
            let field = self.field(start, name);
            self.steps.push(Step::Field(field));
            return Ok(());
        }
        let Some(task) = self.tasks.iter().position(|task| task == name) else {
            let hint = spelling::hint(name, self.tasks.iter().map(String::as_str));
            return Err(self.error(start, format!("`{name}`"), &format!("a task of the model{hint}")));
        };
        self.skip();
        let start = self.at;
        let step = match self.word() {
            GIVEN_PARENT => Step::GivenParent(task),
            FROM_IMPRESSION => Step::FromImpression(task),
            other => {
                let hint = spelling::hint(other, [GIVEN_PARENT, FROM_IMPRESSION]);
                return Err(self.error(start, format!("`{other}`"), &format!("what a task has{hint}")));
            }
        };
        self.steps.push(step);
        Ok(())
    }

    fn field(&mut self, start: usize, name: &str) -> usize {
        self.fields.iter().position(|field| field.name == name).unwrap_or_else(|| {
            self.fields.push(Named { name: name.into(), character: self.character(start) });
            self.fields.len() - 1
        })
    }

    fn deeper(&mut self, parse: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        // A pair of parentheses is a sum in a sign: two levels.
        if self.depth >= 2 * DEEPEST {
            return Err(self.error(self.at, "one level more".into(), &format!("at most {DEEPEST} of nesting")));
        }
        self.depth += 1;
        parse(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn operator(&mut self, operators: &[(char, Step)]) -> Option<Step> {
        operators.iter().find(|(symbol, _)| self.accept(*symbol)).map(|(_, step)| *step)
    }

    fn accept(&mut self, symbol: char) -> bool {
        self.skip();
        let found = self.rest().starts_with(symbol);
        if found {
            self.at += symbol.len_utf8();
        }
        found
    }

    fn symbol(&mut self, symbol: char, expected: &str) -> Parsed {
        if self.accept(symbol) { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn skip(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn expected(&self, expected: &str) -> FormulaError {
        let found = match self.rest().chars().next() {
            Some(symbol) => format!("`{symbol}`"),
            None => "the end".into(),
        };
        self.error(self.at, found, expected)
    }

    fn error(&self, at: usize, found: String, expected: &str) -> FormulaError {
        FormulaError { character: self.character(at), found, expected: expected.into() }
    }

    fn character(&self, at: usize) -> usize {
        self.text[..at].chars().count() + 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TASKS: [&str; 3] = ["click", "buy", "add to cart"];
    const FIELDS: [&str; 4] = ["bid_cpa", "größe", "price (net)", "min"];

    fn tasks() -> Vec<String> {
        TASKS.map(String::from).to_vec()
    }

    /// The same language as a tree, with a printer and a walk of its own.
    #[derive(Clone, Debug)]
    enum Tree {
        Number(f64),
        Task(usize, bool),
        Field(usize),
        Negate(Box<Tree>),
        Operator(char, Box<Tree>, Box<Tree>),
        Function(&'static str, Vec<Tree>),
    }

    impl Tree {
        fn print(&self) -> String {
            let name = |name: &str| {
                if name.chars().all(|letter| letter == '_' || letter.is_alphanumeric()) {
                    name.to_string()
                } else {
                    format!("`{name}`")
                }
            };
            match self {
                Tree::Number(number) => format!("{number:?}"),
                Tree::Task(task, true) => format!("{}.from_impression", name(TASKS[*task])),
                Tree::Task(task, false) => format!("{} . given_parent", name(TASKS[*task])),
                Tree::Field(field) => name(FIELDS[*field]),
                Tree::Negate(of) => format!("-{}", of.within(3)),
                Tree::Operator(symbol, left, right) => {
                    let (before, behind) = match symbol {
                        '+' | '-' => (1, 2),
                        '*' | '/' => (2, 3),
                        _ => (4, 3),
                    };
                    format!("{} {symbol} {}", left.within(before), right.within(behind))
                }
                Tree::Function(name, of) => {
                    format!("{name}({})", of.iter().map(Tree::print).collect::<Vec<_>>().join(", "))
                }
            }
        }

        /// In parentheses if it binds less tightly.
        fn within(&self, least: u8) -> String {
            let own = match self {
                Tree::Operator('+' | '-', ..) => 1,
                Tree::Operator('*' | '/', ..) => 2,
                Tree::Operator(..) | Tree::Negate(_) => 3,
                _ => 4,
            };
            if own < least { format!("({})", self.print()) } else { self.print() }
        }

        fn value(&self, values: Values<'_>) -> f64 {
            let all = |of: &[Tree]| of.iter().map(|one| one.value(values)).collect::<Vec<_>>();
            let known = |of: Vec<f64>, f: fn(f64, f64) -> f64| match of.iter().any(|x| x.is_nan()) {
                true => f64::NAN,
                false => of.into_iter().reduce(f).unwrap(),
            };
            match self {
                Tree::Number(number) => *number,
                Tree::Task(task, true) => values.from_impression[*task],
                Tree::Task(task, false) => values.given_parent[*task],
                Tree::Field(field) => values.fields[*field],
                Tree::Negate(of) => -of.value(values),
                Tree::Operator(symbol, left, right) => {
                    let (left, right) = (left.value(values), right.value(values));
                    match symbol {
                        '+' => left + right,
                        '-' => left - right,
                        '*' => left * right,
                        '/' => left / right,
                        _ => known(vec![left, right], f64::powf),
                    }
                }
                Tree::Function("min", of) => known(all(of), f64::min),
                Tree::Function("max", of) => known(all(of), f64::max),
                Tree::Function("log", of) => of[0].value(values).ln(),
                Tree::Function("exp", of) => of[0].value(values).exp(),
                Tree::Function("sqrt", of) => of[0].value(values).sqrt(),
                Tree::Function(_, of) => of[0].value(values).abs(),
            }
        }

        /// The program of this tree, by another way than the parser's.
        fn steps(&self, steps: &mut Vec<Step>, fields: &mut Vec<usize>) {
            match self {
                Tree::Number(number) => steps.push(Step::Number(*number)),
                Tree::Task(task, true) => steps.push(Step::FromImpression(*task)),
                Tree::Task(task, false) => steps.push(Step::GivenParent(*task)),
                Tree::Field(field) => {
                    if !fields.contains(field) {
                        fields.push(*field);
                    }
                    steps.push(Step::Field(fields.iter().position(|known| known == field).unwrap()));
                }
                Tree::Negate(of) => {
                    of.steps(steps, fields);
                    steps.push(Step::Negate);
                }
                Tree::Operator(symbol, left, right) => {
                    left.steps(steps, fields);
                    right.steps(steps, fields);
                    steps.push(match symbol {
                        '+' => Step::Add,
                        '-' => Step::Subtract,
                        '*' => Step::Multiply,
                        '/' => Step::Divide,
                        _ => Step::Power,
                    });
                }
                Tree::Function(name, of) => {
                    of.iter().for_each(|one| one.steps(steps, fields));
                    steps.push(match *name {
                        "min" => Step::Least(of.len()),
                        "max" => Step::Greatest(of.len()),
                        "log" => Step::Logarithm,
                        "exp" => Step::Exponential,
                        "sqrt" => Step::Root,
                        _ => Step::Absolute,
                    });
                }
            }
        }
    }

    fn trees() -> impl Strategy<Value = Tree> {
        let leaf = prop_oneof![
            (0.0..1e6f64).prop_map(Tree::Number),
            prop_oneof![Just(0.0), Just(1e-300), Just(1e300), Just(2.0)].prop_map(Tree::Number),
            (0..TASKS.len(), any::<bool>()).prop_map(|(task, which)| Tree::Task(task, which)),
            (0..FIELDS.len()).prop_map(Tree::Field),
        ];
        leaf.prop_recursive(6, 40, 3, |inner| {
            let operators = prop::sample::select(vec!['+', '-', '*', '/', '^']);
            prop_oneof![
                inner.clone().prop_map(|of| Tree::Negate(Box::new(of))),
                (operators, inner.clone(), inner.clone()).prop_map(|(symbol, left, right)| Tree::Operator(
                    symbol,
                    Box::new(left),
                    Box::new(right)
                )),
                (prop::sample::select(vec!["min", "max"]), prop::collection::vec(inner.clone(), 2..4))
                    .prop_map(|(name, of)| Tree::Function(name, of)),
                (prop::sample::select(vec!["log", "exp", "sqrt", "abs"]), inner)
                    .prop_map(|(name, of)| Tree::Function(name, vec![of])),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_as_it_was_meant(tree in trees()) {
            let printed = tree.print();
            let formula = Formula::parse(&printed, &tasks()).unwrap();
            let (mut steps, mut fields) = (Vec::new(), Vec::new());
            tree.steps(&mut steps, &mut fields);
            prop_assert_eq!(&formula.steps, &steps, "{}", printed);
            let names: Vec<&str> = formula.fields.iter().map(|field| field.name.as_str()).collect();
            prop_assert_eq!(names, fields.iter().map(|field| FIELDS[*field]).collect::<Vec<_>>());
        }

        #[test]
        fn a_program_computes_what_a_walk_of_the_tree_does(
            tree in trees(),
            given_parent in prop::array::uniform3(prop_oneof![0.0..1.0f64, Just(f64::NAN)]),
            from_impression in prop::array::uniform3(0.0..1.0f64),
            fields in prop::array::uniform4(prop_oneof![-10.0..100.0f64, Just(0.0), Just(f64::NAN)]),
        ) {
            let formula = Formula::parse(&tree.print(), &tasks()).unwrap();
            let values = Values { given_parent: &given_parent, from_impression: &from_impression, fields: &fields };
            let in_order: Vec<f64> = formula
                .fields()
                .iter()
                .map(|field| fields[FIELDS.iter().position(|name| *name == field.name).unwrap()])
                .collect();
            let found = formula.score(Values { fields: &in_order, ..values }, &mut Vec::new());
            let expected = tree.value(values);
            prop_assert!(found == expected || found.is_nan() && expected.is_nan(), "{found} {expected}");
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = Formula::parse(&text, &tasks());
        }

        #[test]
        fn no_mixture_of_its_own_words_makes_the_parser_panic(
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "(", ")", "+", "-", "*", "/", "^", ",", ".", "`", " ", "1", ".5", "1e", "e9", "click", "min",
                    "log", "from_impression", "given_parent", "größe", "\u{a0}", "\u{2003}",
                ]),
                0..40,
            ),
        ) {
            if let Ok(formula) = Formula::parse(&words.concat(), &tasks()) {
                let fields = vec![1.0; formula.fields().len()];
                let values = Values { given_parent: &[0.1; 3], from_impression: &[0.1; 3], fields: &fields };
                formula.score(values, &mut Vec::new());
            }
        }
    }

    #[test]
    fn formulas_from_the_documents_have_the_value_of_their_arithmetic() {
        let value = |text: &str, fields: &[f64]| {
            let formula = Formula::parse(text, &tasks()).unwrap();
            let values = Values { given_parent: &[0.25, 0.1, 0.0], from_impression: &[0.25, 0.02, 0.5], fields };
            formula.score(values, &mut Vec::new())
        };
        assert_eq!(value("bid_cpa * buy.from_impression * 1000", &[3.0]), 3.0 * 0.02 * 1000.0);
        assert_eq!(value("click.given_parent ^ 0.5 * (1 + 2*`add to cart`.from_impression)", &[]), 0.5 * 2.0);
        assert_eq!(value("-2 ^ 2", &[]), -4.0);
        assert_eq!(value("2 ^ 3 ^ 2", &[]), 512.0);
        assert_eq!(value("2 ^ -1", &[]), 0.5);
        assert_eq!(value("8 / 4 / 2 - 1 - 1", &[]), -1.0);
        assert_eq!(value("max(1, 2, 3) - min(4, .5)", &[]), 2.5);
        assert!(value("min(a, 1) ^ 0", &[f64::NAN]).is_nan(), "what is missing stays missing");
    }

    #[test]
    fn an_error_names_the_place_and_the_nearest_spelling() {
        let deep = "(".repeat(DEEPEST + 1);
        let long = "1+".repeat(LONGEST);
        let cases = [
            (
                "bid * clik.from_impression",
                "character 7: found `clik`, expected a task of the model; did you mean `click`?",
            ),
            (
                "click.from_impresion",
                "character 7: found `from_impresion`, expected what a task has; did you mean `from_impression`?",
            ),
            ("1 + sqr(2)", "character 5: found `sqr`, expected a function; did you mean `sqrt`?"),
            ("click * 2", "character 1: found the task `click` alone, expected `click.from_impression` or"),
            ("größe * ", "character 9: found the end, expected a number, a task, a field, a function or `(`"),
            ("(1 + 2", "character 7: found the end, expected `)`, or an operator"),
            ("1 2", "character 3: found `2`, expected an operator, or the end"),
            ("1 $ 2", "character 3: found `$`, expected an operator, or the end"),
            ("min(1)", "character 1: found `min` of 1, expected two values or more"),
            ("exp(1, 2)", "character 1: found `exp` of 2, expected one value"),
            ("1e999", "character 1: found `1e999`, expected a number that can be computed with"),
            ("1 + `price", "character 5: found a backtick, expected a name between two of them"),
            ("", "character 1: found the end, expected a number"),
            (deep.as_str(), "expected at most 64 of nesting"),
            (long.as_str(), "character 1: found 8192 bytes, expected at most 4096"),
        ];
        for (text, expected) in cases {
            let error = Formula::parse(text, &tasks()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
