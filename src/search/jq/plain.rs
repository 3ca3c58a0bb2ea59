//! Filters that are evaluated without jaq's machinery.
//!
//! jaq makes a dozen iterators and lists for each part of a filter and each value, and compiles its library for each call.
//! Most filters do no more than follow paths, compare, select and build. They are evaluated here as they are parsed, each
//! operation on a value being the one that jaq would call, so that results, errors and limits are the same. A filter that
//! holds anything else, be it a variable or a definition, is jaq's as a whole.

use super::{Items, Value, length, step};
use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Term};
use jaq_core::ops::{Cmp, Math};
use jaq_core::path::{self, Opt};
use jaq_core::{Error, ValR, ValT};
use jaq_json::Val;

/// A filter that gives any number of values.
pub(super) enum Plain {
    One(One),
    Path(Box<Plain>, Vec<(Step, Opt)>),
    Pipe(Box<Plain>, Box<Plain>),
    Comma(Box<Plain>, Box<Plain>),
    Select(One),
}

/// A filter that gives one value, or fails.
pub(super) enum One {
    Same,
    Fixed(Value),
    Path(Box<One>, Vec<Part>),
    Pipe(Box<One>, Box<One>),
    Compare(Box<One>, Cmp, Box<One>),
    Math(Box<One>, Math, Box<One>),
    /// Decided by the first alone if its truth is this: `or` if it is true, `and` if it is false.
    Logic(Box<One>, bool, Box<One>),
    Else(Box<One>, Box<One>),
    Object(Vec<(One, One)>),
    Array(Box<Plain>),
    Not,
    Length,
}

/// What a path goes on to.
pub(super) enum Step {
    Each,
    Part(Part),
}

/// One part of a value.
pub(super) enum Part {
    Key(Value),
    Range(Option<Value>, Option<Value>),
}

impl Plain {
    /// Returns the filter that is written so; `None` when it is jaq's.
    pub(super) fn parse(code: &str) -> Option<Plain> {
        jaq_core::load::parse(code, |parser| parser.term()).and_then(plain)
    }

    /// Gives what the filter makes of `value`, until it fails or `give` does.
    pub(super) fn run<E: From<Error<Value>>>(
        &self,
        value: Value,
        give: &mut dyn FnMut(Value) -> Result<(), E>,
    ) -> Result<(), E> {
        step();
        match self {
            Plain::One(One::Same) => give(value),
            Plain::One(one) => give(one.run(&value)?),
            Plain::Path(base, steps) => base.run(value, &mut |value| follow(steps, value, give)),
            Plain::Pipe(first, second) => first.run(value, &mut |value| second.run(value, give)),
            Plain::Comma(first, second) => {
                first.run(value.clone(), give)?;
                second.run(value, give)
            }
            Plain::Select(condition) => {
                if condition.test(&value)? {
                    give(value)
                } else {
                    Ok(())
                }
            }
        }
    }
}

/// Gives what is found along the rest of a path.
fn follow<E: From<Error<Value>>>(
    steps: &[(Step, Opt)],
    value: Value,
    give: &mut dyn FnMut(Value) -> Result<(), E>,
) -> Result<(), E> {
    let Some(((step, opt), rest)) = steps.split_first() else { return give(value) };
    let mut go_on = |found: ValR<Value>| match (found, opt) {
        (Ok(found), _) => follow(rest, found, give),
        (Err(_), Opt::Optional) => Ok(()),
        (Err(error), Opt::Essential) => Err(error.into()),
    };
    match step {
        Step::Each => value.values().try_for_each(go_on),
        Step::Part(part) => go_on(part.of(value)),
    }
}

impl One {
    /// As jaq does, it makes both sides of an operation before it tells that one of them failed, since the other may meet a
    /// limit.
    fn run(&self, value: &Value) -> ValR<Value> {
        step();
        match self {
            One::Same => Ok(value.clone()),
            One::Fixed(fixed) => Ok(fixed.clone()),
            One::Path(base, parts) => parts.iter().try_fold(base.run(value)?, |value, part| part.of(value)),
            One::Pipe(first, second) => second.run(&first.run(value)?),
            One::Compare(..) | One::Logic(..) | One::Not => self.test(value).map(Value::from),
            One::Math(left, operation, right) => {
                let (left, right) = (left.run(value), right.run(value));
                operation.run(left?, right?)
            }
            One::Else(first, second) => {
                let first = first.run(value)?;
                if first.as_bool() { Ok(first) } else { second.run(value) }
            }
            One::Object(fields) => {
                let fields: Vec<_> =
                    fields.iter().map(|(key, field)| (key.run(value), field.run(value))).collect();
                let fields = fields.into_iter().map(|(key, field)| Ok((key?, field?)));
                Value::from_map(fields.collect::<Result<Vec<_>, _>>()?)
            }
            One::Array(items) => {
                let mut array = Items::default();
                items.run(value.clone(), &mut |item| {
                    array.push(item);
                    Ok::<_, Error<Value>>(())
                })?;
                Ok(array.into_value())
            }
            One::Length => length(value.clone()),
        }
    }

    /// Tells whether the value is neither null nor false, without making it where it is of no other use.
    fn test(&self, value: &Value) -> ValR<bool, Value> {
        Ok(match self {
            One::Compare(left, operation, right) => {
                let left = left.run(value);
                if let One::Fixed(right) = &**right {
                    operation.run(&left?, right)
                } else {
                    let right = right.run(value);
                    operation.run(&left?, &right?)
                }
            }
            One::Logic(first, decisive, second) => {
                if first.test(value)? == *decisive {
                    *decisive
                } else {
                    second.test(value)?
                }
            }
            One::Not => !value.as_bool(),
            One::Same
            | One::Fixed(_)
            | One::Path(..)
            | One::Pipe(..)
            | One::Math(..)
            | One::Else(..)
            | One::Object(_)
            | One::Array(_)
            | One::Length => self.run(value)?.as_bool(),
        })
    }
}

impl Part {
    fn of(&self, value: Value) -> ValR<Value> {
        match self {
            Part::Key(key) => value.index(key),
            Part::Range(start, end) => value.range(start.as_ref()..end.as_ref()),
        }
    }
}

// --- From what is parsed ---

fn plain(term: Term<&str>) -> Option<Plain> {
    let one = match term {
        Term::Path(base, path::Path(steps)) => {
            let steps = steps.into_iter().map(|(part, opt)| Some((step_of(part)?, opt)));
            return Some(path_of(plain(*base)?, steps.collect::<Option<Vec<_>>>()?));
        }
        Term::BinOp(left, BinaryOp::Pipe(None), right) => match (plain(*left)?, plain(*right)?) {
            (Plain::One(first), Plain::One(second)) => One::Pipe(first.into(), second.into()),
            (first, second) => return Some(Plain::Pipe(first.into(), second.into())),
        },
        Term::BinOp(first, BinaryOp::Comma, second) => {
            return Some(Plain::Comma(plain(*first)?.into(), plain(*second)?.into()));
        }
        Term::Call("select", arguments) => return Some(Plain::Select(one(only(arguments)?)?)),
        Term::Call("map", arguments) => {
            let each = path_of(Plain::One(One::Same), vec![(Step::Each, Opt::Essential)]);
            One::Array(Box::new(Plain::Pipe(each.into(), plain(only(arguments)?)?.into())))
        }
        Term::Call(name, arguments) if arguments.is_empty() => match name {
            "null" => One::Fixed(Value::leaf(Val::Null)),
            "true" => One::Fixed(Value::from(true)),
            "false" => One::Fixed(Value::from(false)),
            "not" => One::Not,
            "length" => One::Length,
            _ => return None,
        },
        Term::BinOp(left, operation, right) => {
            let (left, right) = (one(*left)?.into(), one(*right)?.into());
            match operation {
                BinaryOp::Cmp(operation) => One::Compare(left, operation, right),
                BinaryOp::Math(operation) => One::Math(left, operation, right),
                BinaryOp::And => One::Logic(left, false, right),
                BinaryOp::Or => One::Logic(left, true, right),
                BinaryOp::Alt => One::Else(left, right),
                BinaryOp::Pipe(_)
                | BinaryOp::Comma
                | BinaryOp::Assign
                | BinaryOp::Update
                | BinaryOp::UpdateMath(_)
                | BinaryOp::UpdateAlt => return None,
            }
        }
        Term::Obj(fields) => {
            let field = |(key, field): (Term<_>, Option<Term<_>>)| {
                let key = one(key)?;
                let field = match (field, &key) {
                    (Some(field), _) => one(field)?,
                    (None, One::Fixed(name)) => One::Path(One::Same.into(), vec![Part::Key(name.clone())]),
                    (None, _) => return None,
                };
                Some((key, field))
            };
            One::Object(fields.into_iter().map(field).collect::<Option<_>>()?)
        }
        Term::Arr(Some(items)) => One::Array(plain(*items)?.into()),
        Term::Id => One::Same,
        Term::Num(_) | Term::Neg(_) | Term::Str(..) => One::Fixed(fixed(term)?),
        Term::Recurse
        | Term::Arr(None)
        | Term::Label(..)
        | Term::Break(_)
        | Term::Fold(..)
        | Term::TryCatch(..)
        | Term::IfThenElse(..)
        | Term::Def(..)
        | Term::Call(..)
        | Term::Var(_) => return None,
    };
    Some(Plain::One(one))
}

fn one(term: Term<&str>) -> Option<One> {
    match plain(term)? {
        Plain::One(one) => Some(one),
        Plain::Path(..) | Plain::Pipe(..) | Plain::Comma(..) | Plain::Select(_) => None,
    }
}

fn only<T>(arguments: Vec<T>) -> Option<T> {
    let [argument] = <[T; 1]>::try_from(arguments).ok()?;
    Some(argument)
}

fn path_of(base: Plain, steps: Vec<(Step, Opt)>) -> Plain {
    let is_one = |(step, opt): &(Step, Opt)| matches!((step, opt), (Step::Part(_), Opt::Essential));
    match base {
        Plain::One(base) if steps.iter().all(is_one) => {
            let parts = steps.into_iter().filter_map(|(step, _)| match step {
                Step::Part(part) => Some(part),
                Step::Each => None,
            });
            Plain::One(One::Path(base.into(), parts.collect()))
        }
        base @ (Plain::One(_) | Plain::Path(..) | Plain::Pipe(..) | Plain::Comma(..) | Plain::Select(_)) => {
            Plain::Path(base.into(), steps)
        }
    }
}

fn step_of(part: path::Part<Term<&str>>) -> Option<Step> {
    let bound = |bound: Option<Term<_>>| bound.map_or(Some(None), |bound| fixed(bound).map(Some));
    Some(match part {
        path::Part::Index(key) => Step::Part(Part::Key(fixed(key)?)),
        path::Part::Range(None, None) => Step::Each,
        path::Part::Range(start, end) => Step::Part(Part::Range(bound(start)?, bound(end)?)),
    })
}

/// Returns the number or text that is written so.
fn fixed(term: Term<&str>) -> Option<Value> {
    if let Term::Num(number) = term {
        let small = number.parse::<isize>().map(Value::from).ok();
        return small.or_else(|| Value::from_num(number).ok());
    }
    if let Term::Neg(number) = term {
        return (-fixed(*number)?).ok();
    }
    let Term::Str(None, parts) = term else { return None };
    let mut text = String::new();
    for part in parts {
        match part {
            StrPart::Str(part) => text.push_str(part),
            StrPart::Char(part) => text.push(part),
            StrPart::Term(_) => return None,
        }
    }
    Some(Value::from(text))
}
