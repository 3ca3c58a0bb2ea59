//! jq filters on a file or a text, with jaq.
//!
//! A filter is a program, and a model's program may be anything: it may loop, recurse or grow without end. jaq has no
//! limits of its own, so its values are wrapped in a type that has: every value made, copied or compared is a step, at
//! which the call may be stopped, the stack measured and the memory counted. A call that meets a limit unwinds out of
//! jaq, which is the only way out of a loop that yields nothing.
//!
//! A filter reads no file, no environment and no clock zone, and writes nothing.

use crate::answer::count_of;
use crate::diff::read_whole;
use crate::error::SearchError;
use crate::json::{Fault, Reader};
use crate::limit::{
    ANSWER_BYTES_MAX, FILE_BYTES_MAX, FILTER_BYTES_MAX, JSON_DEPTH_MAX, JSON_MEMORY_BYTES_MAX, Limit,
};
use crate::query::{Once, ToText, Tool, stopped};
use crate::root::Root;
use crate::text::decode_lossy;
use crate::walk::check_length;
use bytes::Bytes;
use jaq_core::load::{Arena, File, Loader};
use jaq_core::native::{Fun, bome, unary, v};
use jaq_core::path::Opt;
use jaq_core::val::Range;
use jaq_core::{
    Compiler, Ctx, DataT, Error, Filter, Lut, Native, RunPtr, ValR, ValT, ValX, Vars, data::HasLut,
};
use jaq_json::{Map, Num, Rc, Val, write};
use orchestrator_worker::{Scope, Watch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::fmt::{self, Write as _};
use std::io;
use std::ops::{Add, Div, Mul, Neg, Rem, Sub};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

mod plain;

use plain::Plain;

/// How deeply values may be nested, as they count it.
const DEPTH_MAX: u32 = JSON_DEPTH_MAX as u32;
/// How much of its stack a call may use; a worker has twice as much.
const STACK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How large a value may be: a unit for each part and each byte of text, what is shared counted as often as it is seen.
const SIZE_MAX: u64 = 64 * 1024 * 1024;
/// How large an integer may be, in bits.
const INTEGER_BITS_MAX: u64 = 1 << 20;
/// How often the clock is looked at.
const STEPS_PER_LOOK: u32 = 256;

/// Options of `jq`: `filter`, and one of `path` and `text`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "JqOptions")]
pub struct Options {
    /// The jq filter, such as `.dependencies | keys`.
    pub filter: String,
    /// The JSON file.
    #[serde(default)]
    pub path: Option<String>,
    /// The JSON text, in place of `path`.
    #[serde(default)]
    pub text: Option<String>,
    /// Give texts as they are, without quotes.
    #[serde(default)]
    pub raw: bool,
}

/// The answer of `jq`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "JqAnswer")]
pub struct Answer {
    /// What the filter gives, each value as JSON in one line; texts as they are with `raw`.
    pub values: Vec<String>,
    /// Why the filter did not come to its end; `null` when it did.
    pub error: Option<String>,
    /// The limits that were met; empty when nothing was cut.
    pub limits: Vec<Limit>,
}

impl ToText for Answer {
    fn to_text(&self) -> String {
        let mut text = String::new();
        for value in &self.values {
            text.push_str(value);
            text.push('\n');
        }
        // Writing to a `String` does not fail.
        let _infallible = match &self.error {
            Some(error) => writeln!(text, "(jq: {error})"),
            None => writeln!(text, "({})", count_of(self.values.len() as u64, "value", "values")),
        };
        if !self.limits.is_empty() {
            text.push_str("[cut at: AnswerBytes; select less in the filter]\n");
        }
        text
    }
}

/// The tool.
pub(crate) struct Jq;

impl Tool for Jq {
    type Options = Options;
    type Answer = Answer;
    type Work = Once<Answer>;

    fn prepare(root: &Root, options: Options) -> Result<Once<Answer>, SearchError> {
        check_length("filter", options.filter.len(), FILTER_BYTES_MAX)?;
        if options.path.is_some() == options.text.is_some() {
            let reason = "expected either path or text".to_owned();
            return Err(SearchError::BadOptions { path: "path".to_owned(), reason });
        }
        let root = root.clone();
        Ok(Once::new(move |scope: &Scope<'_>| {
            let bytes = match (&options.path, options.text) {
                (Some(path), _) => {
                    let bytes = Bytes::from(read_whole(&root, path, FILE_BYTES_MAX)?.1);
                    match decode_lossy(&bytes).ok_or_else(|| failed("the file is binary"))? {
                        Cow::Borrowed(text) => bytes.slice_ref(text.as_bytes()),
                        Cow::Owned(text) => Bytes::from(text),
                    }
                }
                (None, text) => Bytes::from(text.unwrap_or_default()),
            };
            metered(scope.watch(), || run(&Program::compile(&options.filter)?, &bytes, options.raw))
        }))
    }
}

fn failed(reason: &str) -> SearchError {
    SearchError::JqFailed { reason: reason.to_owned() }
}

// --- The meter ---

thread_local! {
    // One call runs on a thread at a time. What every step looks at has no destructor, so that it is a plain variable.
    static STEPS: Cell<u32> = const { Cell::new(0) };
    static MEMORY_BYTES: Cell<usize> = const { Cell::new(0) };
    /// The address from which the stack grows.
    static STACK_FROM: Cell<usize> = const { Cell::new(0) };
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// Why a call was unwound.
enum Met {
    Stopped,
    Limit(&'static str),
}

/// Runs `call` with a meter.
fn metered<T>(watch: Watch, call: impl FnOnce() -> Result<T, SearchError>) -> Result<T, SearchError> {
    STEPS.set(0);
    MEMORY_BYTES.set(0);
    STACK_FROM.set(here());
    WATCH.set(Some(watch));
    let result = catch_unwind(AssertUnwindSafe(call));
    WATCH.set(None);
    result.unwrap_or_else(|payload: Box<dyn Any + Send>| match payload.downcast::<Met>() {
        Ok(met) => Err(match *met {
            Met::Stopped => stopped(),
            Met::Limit(reason) => failed(reason),
        }),
        // A fault of ours; the pool tells of it.
        Err(payload) => resume_unwind(payload),
    })
}

/// Returns an address in the stack as it is now.
fn here() -> usize {
    let mark = 0_u8;
    std::ptr::from_ref(&mark).addr()
}

/// Leaves jaq. No message is printed, since no panic hook is called.
fn leave(met: Met) -> ! {
    resume_unwind(Box::new(met))
}

/// Counts a step.
fn step() {
    let steps = STEPS.get().wrapping_add(1);
    STEPS.set(steps);
    if STACK_FROM.get().abs_diff(here()) > STACK_BYTES_MAX {
        leave(Met::Limit("the filter recurses too deeply"));
    }
    if steps.is_multiple_of(STEPS_PER_LOOK) {
        look();
    }
}

/// Leaves when the call was stopped.
#[cold]
fn look() {
    if WATCH.with_borrow(|watch| watch.as_ref().is_some_and(Watch::is_stopped)) {
        leave(Met::Stopped);
    }
}

/// Counts memory before it is taken.
fn spend(size_bytes: usize) {
    let memory_bytes = MEMORY_BYTES.get().saturating_add(size_bytes);
    MEMORY_BYTES.set(memory_bytes);
    if memory_bytes > JSON_MEMORY_BYTES_MAX {
        leave(Met::Limit("the filter takes too much memory"));
    }
}

// --- Values ---

/// A value of jaq with upper bounds of its size and depth.
struct Value {
    val: Val,
    size: u64,
    depth: u32,
}

impl Value {
    /// Wraps what has these bounds. Where they are too large it is measured, since they may be far from what is.
    fn new(val: Val, size: u64, depth: u32) -> Value {
        step();
        if size <= SIZE_MAX && depth <= DEPTH_MAX {
            return Value { val, size, depth };
        }
        let mut size = 0;
        let depth = measure(&val, &mut size);
        if size > SIZE_MAX {
            leave(Met::Limit("a value is too large"));
        }
        if depth > DEPTH_MAX {
            leave(Met::Limit("a value is nested more than 128 levels deep"));
        }
        Value { val, size, depth }
    }

    /// Wraps what is part of a value with these bounds.
    fn part(val: Val, size: u64, depth: u32) -> Value {
        let (size, depth) = match &val {
            Val::Null | Val::Bool(_) | Val::Num(_) => (1, 0),
            Val::BStr(bytes) | Val::TStr(bytes) => (1 + bytes.len() as u64, 0),
            Val::Arr(_) | Val::Obj(_) => (size, depth.saturating_sub(1)),
        };
        Value::new(val, size, depth)
    }

    /// Wraps what has no parts.
    fn leaf(val: Val) -> Value {
        Value::part(val, SIZE_MAX + 1, DEPTH_MAX + 1)
    }

    fn text(bytes: Vec<u8>) -> Value {
        Value::leaf(Val::utf8_str(bytes))
    }

    fn with(&self, make: impl FnOnce(Val) -> ValR<Val>) -> ValR<Value> {
        let (size, depth) = (self.size, self.depth);
        make(self.val.clone()).map(|val| Value::part(val, size, depth + 1)).map_err(wrap_error)
    }
}

/// Returns the depth of a value, and adds its size; stops when that is too much.
fn measure(val: &Val, size: &mut u64) -> u32 {
    *size += 1;
    if *size > SIZE_MAX {
        return 0;
    }
    match val {
        Val::Null | Val::Bool(_) | Val::Num(_) => 0,
        Val::BStr(bytes) | Val::TStr(bytes) => {
            *size += bytes.len() as u64;
            0
        }
        Val::Arr(values) => 1 + values.iter().map(|val| measure(val, size)).max().unwrap_or(0),
        Val::Obj(fields) => {
            let depths = fields.iter().map(|(key, val)| measure(key, size).max(measure(val, size)));
            1 + depths.max().unwrap_or(0)
        }
    }
}

fn wrap_error(error: Error<Val>) -> Error<Value> {
    let val = error.into_val();
    let mut size = 0;
    let depth = measure(&val, &mut size);
    Error::new(Value::new(val, size, depth))
}

fn type_error(value: &Value, wanted: &'static str) -> Error<Value> {
    Error::typ(value.clone(), wanted)
}

impl Clone for Value {
    fn clone(&self) -> Value {
        step();
        Value { val: self.val.clone(), size: self.size, depth: self.depth }
    }
}

impl fmt::Display for Value {
    /// As in a message: the start of it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_BYTES_MAX: usize = 200;
        let mut bytes = Bounded { bytes: Vec::new(), size_bytes_max: SHOWN_BYTES_MAX };
        let is_whole = write::write(&mut bytes, &write::Pp::default(), 0, &self.val).is_ok();
        formatter.write_str(&String::from_utf8_lossy(&bytes.bytes))?;
        if is_whole { Ok(()) } else { formatter.write_str("…") }
    }
}

/// Takes what fits and fails at the rest.
struct Bounded {
    bytes: Vec<u8>,
    size_bytes_max: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.size_bytes_max - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room { Err(io::ErrorKind::StorageFull.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a value as JSON in one line, counting what it takes.
fn to_json(val: &Val) -> Vec<u8> {
    struct Counted(Vec<u8>);
    impl io::Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            spend(bytes.len());
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counted = Counted(Vec::new());
    // A `Vec` takes all.
    let _infallible = write::write(&mut counted, &write::Pp::default(), 0, val).is_ok();
    counted.0
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::leaf(Val::from(value))
    }
}
impl From<isize> for Value {
    fn from(value: isize) -> Value {
        Value::leaf(Val::from(value))
    }
}
impl From<usize> for Value {
    fn from(value: usize) -> Value {
        Value::leaf(Val::from(value))
    }
}
impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::leaf(Val::from(value))
    }
}
impl From<String> for Value {
    fn from(value: String) -> Value {
        spend(value.len());
        Value::leaf(Val::from(value))
    }
}
impl From<Range<Value>> for Value {
    fn from(range: Range<Value>) -> Value {
        let bounds = [&range.start, &range.end].into_iter().flatten();
        let (size, depth) =
            bounds.fold((3, 1), |(size, depth), bound| (size + bound.size, depth.max(bound.depth + 1)));
        let [start, end] = [range.start, range.end].map(|bound| bound.map(|value| value.val));
        Value::new(Val::from(start..end), size, depth)
    }
}

/// An array in the making.
#[derive(Default)]
struct Items {
    vals: Vec<Val>,
    size: u64,
    depth: u32,
}

impl Items {
    fn push(&mut self, value: Value) {
        spend(size_of::<Val>());
        self.size += value.size;
        self.depth = self.depth.max(value.depth);
        self.vals.push(value.val);
    }

    fn into_value(self) -> Value {
        Value::new(Val::Arr(self.vals.into()), self.size + 1, self.depth + 1)
    }
}

impl FromIterator<Value> for Value {
    fn from_iter<I: IntoIterator<Item = Value>>(values: I) -> Value {
        let mut items = Items::default();
        values.into_iter().for_each(|value| items.push(value));
        items.into_value()
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        step();
        self.val == other.val
    }
}
impl Eq for Value {}
impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Value) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Value {
    fn cmp(&self, other: &Value) -> Ordering {
        step();
        self.val.cmp(&other.val)
    }
}

impl Value {
    /// Makes a binary operation, after `check` has counted what it takes. Its result is no larger and no deeper than both
    /// together.
    fn combine(self, other: Value, check: fn(&Val, &Val), make: fn(Val, Val) -> ValR<Val>) -> ValR<Value> {
        check(&self.val, &other.val);
        let (size, depth) = (self.size.saturating_add(other.size), self.depth.max(other.depth));
        let result = make(self.val, other.val).map_err(wrap_error)?;
        Ok(Value::part(result, size, depth + 1))
    }
}

macro_rules! operations {
    ($($name:ident, $method:ident, $check:expr;)*) => {$(
        impl $name for Value {
            type Output = ValR<Value>;
            fn $method(self, other: Value) -> ValR<Value> {
                self.combine(other, $check, $name::$method)
            }
        }
    )*};
}

operations! {
    Add, add, check_sum;
    Sub, sub, |_, _| {};
    Mul, mul, check_product;
    Div, div, check_pieces;
    Rem, rem, |_, _| {};
}

/// Counts what a sum takes, before it is made.
fn check_sum(_one: &Val, other: &Val) {
    spend(match other {
        Val::Arr(values) => values.len() * size_of::<Val>(),
        Val::Obj(fields) => fields.len() * 4 * size_of::<Val>(),
        Val::BStr(bytes) | Val::TStr(bytes) => bytes.len(),
        Val::Null | Val::Bool(_) | Val::Num(_) => 0,
    });
}

/// Counts what the pieces of a text take, before it is split: each is a value with a text.
fn check_pieces(one: &Val, _other: &Val) {
    if let Val::BStr(bytes) | Val::TStr(bytes) = one {
        spend(bytes.len().saturating_mul(size_of::<Val>()));
    }
}

/// Counts what a product takes, before it is made.
fn check_product(one: &Val, other: &Val) {
    for (value, times) in [(one, other), (other, one)] {
        match (value, times) {
            (Val::BStr(bytes) | Val::TStr(bytes), Val::Num(times)) => {
                let is_huge = times.as_isize().is_none();
                let times = times.as_isize().and_then(|times| usize::try_from(times).ok()).unwrap_or(0);
                spend(if is_huge { usize::MAX } else { bytes.len().saturating_mul(times) });
            }
            (Val::Num(Num::BigInt(integer)), Val::Num(_)) if integer.bits() > INTEGER_BITS_MAX => {
                leave(Met::Limit("an integer is too large"));
            }
            _ => {}
        }
    }
}

impl Neg for Value {
    type Output = ValR<Value>;
    fn neg(self) -> ValR<Value> {
        self.val.neg().map(Value::leaf).map_err(wrap_error)
    }
}

impl ValT for Value {
    fn from_num(number: &str) -> ValR<Value> {
        Val::from_num(number).map(Value::leaf).map_err(wrap_error)
    }

    fn from_map<I: IntoIterator<Item = (Value, Value)>>(fields: I) -> ValR<Value> {
        let (mut size, mut depth) = (1, 0);
        let field = |(key, value): (Value, Value)| {
            spend(4 * size_of::<Val>());
            size += key.size + value.size;
            depth = depth.max(key.depth).max(value.depth);
            (key.val, value.val)
        };
        let val = Val::from_map(fields.into_iter().map(field)).map_err(wrap_error)?;
        Ok(Value::new(val, size, depth + 1))
    }

    fn key_values(self) -> jaq_core::box_iter::BoxIter<'static, Result<(Value, Value), Error<Value>>> {
        let (size, depth) = (self.size, self.depth);
        let part = move |(key, val)| (Value::part(key, size, depth), Value::part(val, size, depth));
        Box::new(self.val.key_values().map(move |field| field.map(part).map_err(wrap_error)))
    }

    fn values(self) -> Box<dyn Iterator<Item = ValR<Value>>> {
        let (size, depth) = (self.size, self.depth);
        Box::new(
            self.val
                .values()
                .map(move |val| val.map(|val| Value::part(val, size, depth)).map_err(wrap_error)),
        )
    }

    fn index(self, index: &Value) -> ValR<Value> {
        let (size, depth) = (self.size, self.depth);
        let part = self.val.index(&index.val).map_err(wrap_error)?;
        // Of an array indexed by an array it is a list of places, and no part.
        Ok(Value::part(part, size, depth.max(2)))
    }

    fn range(self, range: Range<&Value>) -> ValR<Value> {
        let (size, depth) = (self.size, self.depth);
        let range = range.start.map(|value| &value.val)..range.end.map(|value| &value.val);
        let val = self.val.range(range).map_err(wrap_error)?;
        Ok(Value::part(val, size, depth + 1))
    }

    fn map_values<'a, I: Iterator<Item = ValX<'a, Value>>>(
        self,
        opt: Opt,
        f: impl Fn(Value) -> I,
    ) -> ValX<'a, Value> {
        match &self.val {
            Val::Arr(_) => {
                let mapped = self.values().flat_map(|value| match value {
                    Ok(value) => Mapped::Values(f(value)),
                    Err(error) => Mapped::Error(Some(error)),
                });
                mapped.collect()
            }
            Val::Obj(_) => {
                let mut fields = Vec::new();
                for field in self.key_values() {
                    let (key, value) = field?;
                    if let Some(value) = f(value).next() {
                        fields.push((key, value?));
                    }
                }
                Ok(Value::from_map(fields)?)
            }
            Val::Null | Val::Bool(_) | Val::Num(_) | Val::BStr(_) | Val::TStr(_) => {
                opt.fail(self, |value| type_error(&value, "iterable (array or object)").into())
            }
        }
    }

    fn map_index<'a, I: Iterator<Item = ValX<'a, Value>>>(
        self,
        index: &Value,
        opt: Opt,
        f: impl Fn(Value) -> I,
    ) -> ValX<'a, Value> {
        if let (Val::BStr(_) | Val::TStr(_) | Val::Arr(_), Val::Obj(range)) = (&self.val, &index.val) {
            let bound = |name: &str| range.get(&Val::utf8_str(name.to_owned())).cloned().map(Value::leaf);
            let (start, end) = (bound("start"), bound("end"));
            return self.map_range(start.as_ref()..end.as_ref(), opt, f);
        }
        let old = match self.clone().index(index) {
            Ok(old) => old,
            Err(error) => return opt.fail(self, |_| error.into()),
        };
        let new = f(old).next().transpose()?;
        let mut size = self.size.saturating_add(new.as_ref().map_or(0, |new| new.size + index.size));
        let depth = self.depth.max(new.as_ref().map_or(0, |new| new.depth + 1));
        let index = &index.val;
        let mut val = self.val;
        if new.is_some() {
            // As in jq, what is put into nothing makes an object or an array, and an array is filled up with nulls.
            match (&val, index) {
                (Val::Null, Val::TStr(_)) => val = Val::obj(Map::default()),
                (Val::Null, Val::Num(_)) => val = Val::from_iter([]),
                _ => {}
            }
            if let (Val::Arr(values), Val::Num(place)) = (&mut val, index)
                && let Some(place) = place.as_isize().and_then(|place| usize::try_from(place).ok())
                && place >= values.len()
            {
                spend(place.saturating_sub(values.len()).saturating_add(1).saturating_mul(size_of::<Val>()));
                size = size.saturating_add(place as u64 + 1);
                Rc::make_mut(values).resize(place + 1, Val::Null);
            }
        }
        // What is put in is known already, so that jaq's own code makes no value that is not counted.
        let result: ValX<'_, Val> =
            val.map_index(index, opt, |_old| new.as_ref().map(|new| Ok(new.val.clone())).into_iter());
        match result {
            Ok(val) => Ok(Value::new(val, size, depth)),
            Err(exception) => Err(match exception.get_err() {
                Ok(error) => wrap_error(error).into(),
                Err(_control) => Error::str("a path cannot be changed").into(),
            }),
        }
    }

    fn map_range<'a, I: Iterator<Item = ValX<'a, Value>>>(
        self,
        range: Range<&Value>,
        opt: Opt,
        f: impl Fn(Value) -> I,
    ) -> ValX<'a, Value> {
        let old = match self.clone().range(range.clone()) {
            Ok(old) => old,
            Err(error) => return opt.fail(self, |_| error.into()),
        };
        let new = f(old).next().transpose()?;
        let size = self.size.saturating_add(new.as_ref().map_or(0, |new| new.size));
        let depth = self.depth.max(new.as_ref().map_or(0, |new| new.depth));
        let range = range.start.map(|value| &value.val)..range.end.map(|value| &value.val);
        let result: ValX<'_, Val> =
            self.val.map_range(range, opt, |_old| new.as_ref().map(|new| Ok(new.val.clone())).into_iter());
        match result {
            Ok(val) => Ok(Value::new(val, size, depth)),
            Err(exception) => Err(match exception.get_err() {
                Ok(error) => wrap_error(error).into(),
                Err(_control) => Error::str("a path cannot be changed").into(),
            }),
        }
    }

    fn as_bool(&self) -> bool {
        self.val.as_bool()
    }

    fn into_string(self) -> Value {
        match &self.val {
            Val::TStr(_) => self,
            Val::BStr(bytes) => Value::leaf(Val::TStr(bytes.clone())),
            Val::Null | Val::Bool(_) | Val::Num(_) | Val::Arr(_) | Val::Obj(_) => {
                Value::text(to_json(&self.val))
            }
        }
    }
}

/// What a filter made of one value, or why there was none.
enum Mapped<I> {
    Values(I),
    Error(Option<Error<Value>>),
}

impl<'a, I: Iterator<Item = ValX<'a, Value>>> Iterator for Mapped<I> {
    type Item = ValX<'a, Value>;
    fn next(&mut self) -> Option<ValX<'a, Value>> {
        match self {
            Mapped::Values(values) => values.next(),
            Mapped::Error(error) => error.take().map(|error| Err(error.into())),
        }
    }
}

impl jaq_std::ValT for Value {
    fn into_seq<S: FromIterator<Value>>(self) -> Result<S, Value> {
        let (size, depth) = (self.size, self.depth);
        match self.val {
            Val::Arr(values) => {
                spend(values.len() * size_of::<Value>());
                Ok(values.iter().map(|val| Value::part(val.clone(), size, depth)).collect())
            }
            val @ (Val::Null | Val::Bool(_) | Val::Num(_) | Val::BStr(_) | Val::TStr(_) | Val::Obj(_)) => {
                Err(Value { val, size, depth })
            }
        }
    }

    fn is_int(&self) -> bool {
        self.val.is_int()
    }

    fn as_isize(&self) -> Option<isize> {
        self.val.as_isize()
    }

    fn as_f64(&self) -> Option<f64> {
        self.val.as_f64()
    }

    fn is_utf8_str(&self) -> bool {
        self.val.is_utf8_str()
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        self.val.as_bytes()
    }

    fn as_sub_str(&self, sub: &[u8]) -> Value {
        Value::leaf(self.val.as_sub_str(sub))
    }

    fn from_utf8_bytes(bytes: impl AsRef<[u8]> + Send + 'static) -> Value {
        spend(bytes.as_ref().len());
        Value::leaf(Val::from_utf8_bytes(bytes))
    }
}

// --- Filters ---

/// What filters work on.
struct Metered;

/// The table of a filter. jaq copies it with every context, so that a filter which makes no value is counted too.
struct Table<'a>(&'a Lut<Metered>);

impl Clone for Table<'_> {
    fn clone(&self) -> Self {
        step();
        Table(self.0)
    }
}

impl<'a> HasLut<'a, Metered> for Table<'a> {
    fn lut(&self) -> &'a Lut<Metered> {
        self.0
    }
}

impl DataT for Metered {
    type V<'a> = Value;
    type Data<'a> = Table<'a>;
}

/// Filters that would read the surroundings, write to them or end the process.
const WITHHELD: &[&str] = &[
    "env",
    "halt",
    "localtime",
    "strflocaltime",
    "debug_empty",
    "stderr_empty",
    "input",
    "inputs",
    "input_filename",
];

/// Returns the native filters: jaq's, and for those on JSON our own, since jaq's are made for its own values.
fn natives() -> impl Iterator<Item = Fun<Metered>> {
    let withheld = |(name, arity, native): Fun<Metered>| {
        if WITHHELD.contains(&name) {
            let refuse: RunPtr<Metered> =
                |_cv| bome(Err(Error::str("this filter is not available here".to_owned())));
            (name, arity, Native::<Metered>::new(refuse))
        } else {
            (name, arity, native)
        }
    };
    let own: [(&'static str, usize, RunPtr<Metered>); 8] = [
        ("fromjson", 0, |cv| bome(from_json(&cv.1))),
        ("tojson", 0, |cv| bome(Ok(Value::text(to_json(&cv.1.val))))),
        ("tobytes", 0, |cv| {
            bome(match &cv.1.val {
                Val::BStr(bytes) | Val::TStr(bytes) => Ok(Value::leaf(Val::BStr(bytes.clone()))),
                Val::Null | Val::Bool(_) | Val::Num(_) | Val::Arr(_) | Val::Obj(_) => {
                    Err(type_error(&cv.1, "string"))
                }
            })
        }),
        ("length", 0, |cv| bome(length(cv.1))),
        ("contains", 1, |cv| unary(cv, |one, other| Ok(Value::from(contains(&one.val, &other.val))))),
        ("has", 1, |cv| unary(cv, |value, key| has(&value, &key))),
        ("indices", 1, |cv| unary(cv, |value, wanted| indices(&value, &wanted))),
        ("bsearch", 1, |cv| {
            unary(cv, |array, wanted| match &array.val {
                Val::Arr(values) => {
                    let found = values.binary_search(&wanted.val);
                    let place = |index: usize| isize::try_from(index).unwrap_or(isize::MAX);
                    Ok(Value::from(found.map_or_else(|index| -1 - place(index), place)))
                }
                Val::Null | Val::Bool(_) | Val::Num(_) | Val::BStr(_) | Val::TStr(_) | Val::Obj(_) => {
                    Err(type_error(&array, "array"))
                }
            })
        }),
    ];
    let own = own.into_iter().map(|(name, arity, run)| (name, v(arity), Native::<Metered>::new(run)));
    jaq_core::funs().chain(jaq_std::funs()).map(withheld).chain(own)
}

fn from_json(value: &Value) -> ValR<Value> {
    let Val::TStr(bytes) = &value.val else { return Err(type_error(value, "string")) };
    spend(bytes.len().saturating_mul(8));
    let parsed = Reader::new(bytes, look).read_single().map_err(|fault| {
        Error::str(match fault {
            Fault::Limit(reason) => reason.to_owned(),
            fault @ Fault::Wrong { .. } => format!("cannot parse as JSON: {fault}"),
        })
    })?;
    Ok(Value::new(parsed, bytes.len() as u64 + 1, DEPTH_MAX))
}

fn length(value: Value) -> ValR<Value> {
    let length = match &value.val {
        Val::Null => 0,
        Val::Num(_) => {
            let is_negative = value.val < Val::from(0_isize);
            return if is_negative { -value } else { Ok(value) };
        }
        Val::TStr(bytes) => String::from_utf8_lossy(bytes).chars().count(),
        Val::BStr(bytes) => bytes.len(),
        Val::Arr(values) => values.len(),
        Val::Obj(fields) => fields.len(),
        Val::Bool(_) => return Err(Error::str(format!("{value} has no length"))),
    };
    Ok(Value::from(length))
}

fn contains(one: &Val, other: &Val) -> bool {
    step();
    match (one, other) {
        (Val::BStr(one), Val::BStr(other)) | (Val::TStr(one), Val::TStr(other)) => {
            memchr::memmem::find(one, other).is_some()
        }
        (Val::Arr(one), Val::Arr(other)) => {
            other.iter().all(|other| one.iter().any(|one| contains(one, other)))
        }
        (Val::Obj(one), Val::Obj(other)) => {
            other.iter().all(|(key, other)| one.get(key).is_some_and(|one| contains(one, other)))
        }
        _ => one == other,
    }
}

fn has(value: &Value, key: &Value) -> ValR<Value> {
    match (&value.val, &key.val) {
        (Val::Obj(fields), key) => Ok(Value::from(fields.contains_key(key))),
        (Val::Arr(values), Val::Num(index)) => {
            let index = index.as_isize().and_then(|index| usize::try_from(index).ok());
            Ok(Value::from(index.is_some_and(|index| index < values.len())))
        }
        _ => Err(Error::index(value.clone(), key.clone())),
    }
}

fn indices(value: &Value, wanted: &Value) -> ValR<Value> {
    match (&value.val, &wanted.val) {
        (Val::TStr(text), Val::TStr(part)) => {
            let (text, part) = (text.as_ref(), part.as_ref());
            if part.is_empty() {
                return Ok(Value::from_iter([]));
            }
            let mut places = Vec::new();
            // Places are counted in characters, from one match to the next.
            let (mut at, mut chars) = (0, 0);
            while let Some(offset) = memchr::memmem::find(&text[at..], part) {
                let is_start = |byte: &&u8| **byte & 0xC0 != 0x80;
                chars += text[at..at + offset].iter().filter(is_start).count();
                places.push(Value::from(chars));
                at += offset + 1;
                chars += 1;
                while text.get(at).is_some_and(|byte| byte & 0xC0 == 0x80) {
                    at += 1;
                }
            }
            Ok(places.into_iter().collect())
        }
        (Val::Null, _) => Ok(Value::leaf(Val::Null)),
        (Val::Arr(_), Val::Arr(part)) if part.is_empty() => Ok(Value::from_iter([])),
        (Val::Arr(_), Val::Arr(_)) => value.with(|val| val.index(&wanted.val)),
        (Val::Arr(values), wanted) => {
            let places = values.iter().enumerate().filter(|(_, value)| *value == wanted);
            Ok(places.map(|(place, _)| Value::from(place)).collect())
        }
        _ => Err(Error::index(value.clone(), wanted.clone())),
    }
}

/// What jq has and jaq's libraries have not.
const ROWS: &str = r#"
def leaf_paths: paths(scalars);
def replaced($old; $new): split($old) | join($new);
def row(text; $separator; $name):
  if isarray then
    [.[] | if isstring then text elif . == null then "" elif isarray or isobject then error("\(.) is no cell of @\($name)") else tojson end]
    | join($separator)
  else error("\(.) is no row of @\($name): it is no array") end;
def @csv: row("\"\(replaced("\""; "\"\""))\""; ","; "csv");
def @tsv: row(replaced("\\"; "\\\\") | replaced("\t"; "\\t") | replaced("\n"; "\\n") | replaced("\r"; "\\r"); "\t"; "tsv");
"#;

/// A filter that can be run.
enum Program {
    Plain(Plain),
    Full(Filter<Metered>),
}

/// Why a filter did not come to its end.
enum End {
    AnswerFull,
    Failed(String),
}

impl From<Error<Value>> for End {
    fn from(error: Error<Value>) -> End {
        End::Failed(error.to_string())
    }
}

impl Program {
    fn compile(code: &str) -> Result<Program, SearchError> {
        Plain::parse(code).map_or_else(|| Program::compile_full(code), |plain| Ok(Program::Plain(plain)))
    }

    fn compile_full(code: &str) -> Result<Program, SearchError> {
        let bad = |reason: String| SearchError::BadFilter { reason };
        let rows = jaq_core::load::parse(ROWS, |parser| parser.defs()).unwrap_or_default();
        let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()).chain(rows);
        let loader = Loader::new(definitions);
        let arena = Arena::default();
        let modules = loader.load(&arena, File { code, path: () }).map_err(|errors| {
            let errors = errors.into_iter().map(|(_, error)| describe_load(error));
            bad(errors.collect::<Vec<_>>().join("; "))
        })?;
        let filter = Compiler::default().with_funs(natives()).compile(modules).map_err(|errors| {
            let undefined = errors.into_iter().flat_map(|(_, errors)| errors);
            let names = undefined.map(|(name, kind)| format!("there is no {} {name}", kind.as_str()));
            bad(names.collect::<Vec<_>>().join("; "))
        })?;
        Ok(Program::Full(filter))
    }

    /// Gives what the filter makes of `value`, until it fails or `give` does.
    fn run(&self, value: Value, give: &mut dyn FnMut(Value) -> Result<(), End>) -> Result<(), End> {
        match self {
            Program::Plain(plain) => plain.run(value, give),
            Program::Full(filter) => {
                let context = Ctx::<Metered>::new(Table(&filter.lut), Vars::new([]));
                filter.id.run((context, value)).try_for_each(|result| {
                    step();
                    give(result.map_err(|exception| match exception.get_err() {
                        Ok(error) => End::from(error),
                        Err(_control) => End::Failed("the filter broke off".to_owned()),
                    })?)
                })
            }
        }
    }
}

/// Runs a filter on each JSON value of `input`.
fn run(program: &Program, input: &Bytes, raw: bool) -> Result<Answer, SearchError> {
    let mut answer = Answer { values: Vec::new(), error: None, limits: Vec::new() };
    let mut size_bytes = 0;
    let mut give = |value: Value| {
        let text = match value.val {
            Val::TStr(bytes) | Val::BStr(bytes) if raw => bytes.to_vec(),
            val @ (Val::Null
            | Val::Bool(_)
            | Val::Num(_)
            | Val::BStr(_)
            | Val::TStr(_)
            | Val::Arr(_)
            | Val::Obj(_)) => to_json(&val),
        };
        let text = String::from_utf8(text)
            .unwrap_or_else(|odd| String::from_utf8_lossy(odd.as_bytes()).into_owned());
        size_bytes += text.len() + 1;
        if size_bytes > ANSWER_BYTES_MAX {
            answer.limits.push(Limit::AnswerBytes);
            // Of one value that is too large, the start says more than nothing.
            if answer.values.is_empty() {
                answer.values.push(text[..text.floor_char_boundary(ANSWER_BYTES_MAX)].to_owned());
            }
            return Err(End::AnswerFull);
        }
        answer.values.push(text);
        Ok(())
    };
    for parsed in Reader::new(input, look) {
        let end = match parsed {
            Ok(val) => program.run(Value::new(val, input.len() as u64 + 1, DEPTH_MAX), &mut give),
            Err(Fault::Limit(reason)) => return Err(failed(reason)),
            Err(fault @ Fault::Wrong { .. }) => Err(End::Failed(format!("the input is not JSON: {fault}"))),
        };
        match end {
            Ok(()) => {}
            Err(End::AnswerFull) => break,
            Err(End::Failed(error)) => {
                answer.error = Some(error);
                break;
            }
        }
    }
    Ok(answer)
}

/// Says what is wrong with a filter that cannot be parsed.
fn describe_load(error: jaq_core::load::Error<&str>) -> String {
    use jaq_core::load::Error as Load;
    let near = |text: &str| {
        let start: String = text.chars().take(20).collect();
        if start.is_empty() { "at the end".to_owned() } else { format!("at {start:?}") }
    };
    match error {
        Load::Io(_) => "modules cannot be imported here".to_owned(),
        Load::Lex(errors) => {
            let all = errors
                .into_iter()
                .map(|(expected, text)| format!("expected {} {}", expected.as_str(), near(text)));
            all.collect::<Vec<_>>().join("; ")
        }
        Load::Parse(errors) => {
            let all = errors
                .into_iter()
                .map(|(expected, text)| format!("expected {} {}", expected.as_str(), near(text)));
            all.collect::<Vec<_>>().join("; ")
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use orchestrator_worker::{Job, JobError, Lane, Pool};
    use std::sync::mpsc::channel;
    use std::time::{Duration, Instant};

    /// Runs a call on a worker, as calls are.
    fn within<T: Send + 'static>(
        time: Duration,
        call: impl FnOnce() -> Result<T, SearchError> + Send + 'static,
    ) -> Result<T, SearchError> {
        let pool = Pool::new(1);
        let (sender, receiver) = channel();
        let job = Job::new(Lane::Interactive, time, move |scope| {
            sender.send(metered(scope.watch(), call)).unwrap();
        });
        let (ended, end) = channel();
        pool.submit(job, move |outcome| ended.send(outcome).unwrap()).unwrap();
        let result = receiver.recv_timeout(Duration::from_secs(120)).expect("a filter did not end");
        let outcome = end.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(matches!(outcome, Ok(()) | Err(JobError::TimedOut { .. })), "{outcome:?}");
        result
    }

    fn jq_within(time: Duration, filter: &str, input: &str, raw: bool) -> Result<Answer, SearchError> {
        let (filter, input) = (filter.to_owned(), Bytes::from(input.to_owned()));
        within(time, move || run(&Program::compile(&filter)?, &input, raw))
    }

    /// Returns what a plain filter gives, and what it gives as jaq's; `None` when it is not plain.
    pub(crate) fn both(filter: &str, input: &str) -> Option<[Result<Answer, String>; 2]> {
        let compile_plain = |filter: &str| Ok(Plain::parse(filter).map(Program::Plain));
        let compile_full = |filter: &str| Program::compile_full(filter).map(Some);
        let run_as = |compile: fn(&str) -> Result<Option<Program>, SearchError>| {
            let (filter, input) = (filter.to_owned(), Bytes::from(input.to_owned()));
            let call = move || compile(&filter)?.map(|program| run(&program, &input, false)).transpose();
            within(Duration::from_secs(60), call).map_err(|error| error.to_string()).transpose()
        };
        Some([run_as(compile_plain)?, run_as(compile_full)?])
    }

    fn jq(filter: &str, input: &str) -> Result<Answer, SearchError> {
        jq_within(Duration::from_secs(60), filter, input, false)
    }

    fn values(filter: &str, input: &str) -> Vec<String> {
        let answer = jq(filter, input).unwrap();
        assert_eq!(answer.error, None, "{filter}");
        answer.values
    }

    /// Breaks if a filter gives something else than jq does.
    #[test]
    fn filters_give_what_jq_gives() {
        let check = |filter: &str, input: &str, expected: &[&str]| {
            assert_eq!(values(filter, input), expected, "{filter}")
        };
        check(".a.b, .c?", r#"{"a":{"b":[1,2.5]}}"#, &["[1,2.5]", "null"]);
        check("map(. * 2) | add", "[1,2,3]", &["12"]);
        check("to_entries | map(.key) | sort", r#"{"b":1,"a":2}"#, &[r#"["a","b"]"#]);
        check(".[] |= . + 1", "[1,2]", &["[2,3]"]);
        check(".a.b.c = 5 | del(.x)", r#"{"x":1}"#, &[r#"{"a":{"b":{"c":5}}}"#]);
        check(
            ".[1:3] = [9], (.[5] = 0 | length), (.[-1] |= . * 2)",
            "[1,2,3,4]",
            &["[1,9,4]", "6", "[1,2,3,8]"],
        );
        check(
            "group_by(.k) | map({k: .[0].k, n: length})",
            r#"[{"k":2},{"k":1},{"k":2}]"#,
            &[r#"[{"k":1,"n":1},{"k":2,"n":2}]"#],
        );
        check(
            r#"test("b+"), (split(",") | length), ascii_upcase"#,
            r#""abb,c""#,
            &["true", "2", "\"ABB,C\""],
        );
        check("indices(\"b\"), length, contains(\"é\")", "\"ébabé\"", &["[1,3]", "5", "true"]);
        check("indices([1,2]), indices(1), index(2)", "[1,2,1,2]", &["[0,2]", "[0,2]", "1"]);
        check("has(\"a\"), (keys | has(0), has(1))", r#"{"a":1}"#, &["true", "true", "false"]);
        check("[.[] | tojson | fromjson]", r#"[{"a":[null,true,"x"]}]"#, &[r#"[{"a":[null,true,"x"]}]"#]);
        check("[paths], [paths(scalars)]", r#"{"a":[1]}"#, &[r#"[["a"],["a",0]]"#, r#"[["a",0]]"#]);
        check(
            "reduce range(5) as $i (0; . + $i), [limit(3; repeat(1))], first(range(10;0;-3))",
            "null",
            &["10", "[1,1,1]", "10"],
        );
        check("[.[] | length]", r#"[null,-3,"ab",[1],{}]"#, &["[0,3,2,1,0]"]);
        check(
            "try error(\"x\") catch ., (.a // \"d\"), @base64 \"\\(1)\", ([3,1]|min)",
            "{}",
            &["\"x\"", "\"d\"", "\"MQ==\"", "1"],
        );
        check(".", "1 \"two\"\n[3]", &["1", "\"two\"", "[3]"]);
        check(
            "[.[] as [$a, $b] | $a + $b], walk(if type == \"number\" then . + 1 else . end)",
            "[[1,2]]",
            &["[3]", "[[2,3]]"],
        );
        check(
            "tostring, (tonumber? // 0), ([.] | @csv), ([.] | bsearch(\"a\"))",
            "\"a\"",
            &["\"a\"", "0", "\"\\\"a\\\"\"", "0"],
        );
        check(
            "@csv, @tsv",
            r#"["a\"b", 1, null, true, "c\td\\e", ""]"#,
            &[r#""\"a\"\"b\",1,,true,\"c\td\\e\",\"\"""#, r#""a\"b\t1\t\ttrue\tc\\td\\\\e\t""#],
        );
        check("[leaf_paths]", r#"{"a":[1,{"b":null}]}"#, &[r#"[["a",0]]"#]);
        let raw = jq_within(Duration::from_secs(60), ".[]", r#"["a\nb",1]"#, true).unwrap();
        assert_eq!(raw.values, ["a\nb", "1"]);
    }

    /// Breaks if a filter means something else where it is evaluated without jaq.
    #[test]
    fn plain_filters_give_what_jaq_gives() {
        let inputs = [
            "null",
            "[3,1,2]",
            r#""a text""#,
            r#"{"a":{"b":[1,2.50,{"c":null}]},"b":false,"e é":"x"}"#,
            r#"[{"a":1,"b":"x"},{"a":null,"b":"y"},{"b":[]},7]"#,
            "1 [2] {\"a\":3}",
            "",
            "[1",
        ];
        let filters = [
            ".",
            ".a",
            ".a.b",
            ".a.b[0]",
            ".a.b[-1].c",
            ".a[\"b\"][1:]",
            ".[1:2]",
            ".[:-1]",
            ".[]",
            ".[]?",
            ".[].a",
            ".[]?.a?",
            ".[].a?",
            ".a?.b",
            ".\"e \\u00e9\"",
            ".[\"a\",\"b\"]",
            ".[] | select(.a > 0)",
            ".[] | select(.a == null and (.b | length) > 0 or .a != 1) | .b",
            ".[]? | select(.a?)",
            "map(.a)",
            "map(select(.b)) | length",
            "[.[] | .a?, 1]",
            "{a}",
            "{a, \"b\", c: .a.b, (.x // \"k\"): [.]}",
            "{a: 1, b: 2, a: 3}",
            "{(.a): 1}",
            "{a: .[]}",
            "{}",
            "[]",
            ".a, .b",
            "(.a, .b) | not",
            ".a // .b // \"none\"",
            "(.[] | .a) // 1",
            "1 + 2 * 3 - 4 / 8 % 3",
            ".a + 1",
            ".b + .b",
            "\"a\" + \"\\n\"",
            "-1, -1.50, 1.50, 100000000000000000000",
            "-\"a\"",
            "true, false, null | not",
            ".a and error",
            "length",
            ".[1.5]",
            ".[[2]]",
            ".[{}]",
            ".[\"a\"]?",
            "..",
            "1 as $x | $x",
            "if . then 1 else 2 end",
        ];
        let mut plain_count = 0;
        for filter in filters {
            for input in inputs {
                let Some([plain, full]) = both(filter, input) else { continue };
                assert_eq!(plain, full, "{filter} of {input}");
                plain_count += 1;
            }
        }
        assert!(plain_count > 35 * inputs.len(), "{plain_count}");
        // Where one of many values would be met in another order, it is jaq's.
        for filter in
            ["{a: .[], b: .[]}", "(.[]) + (.[])", "select(.[])", ".[.a]", "def f: 1; f", "input", "\"\\(.)\""]
        {
            assert!(both(filter, "null").is_none(), "{filter}");
        }
    }

    /// Breaks if a call cannot be stopped while it reads its input.
    #[test]
    fn reading_can_be_stopped() {
        let input = format!("[{}1]", "1,".repeat(15_000_000));
        let error = jq_within(Duration::from_millis(20), "empty", &input, false).unwrap_err();
        assert_eq!(error.code(), "WORKER_TIMED_OUT");
    }

    /// Breaks if a mistake is a panic, or its author is not told of it.
    #[test]
    fn mistakes_are_told() {
        for (filter, part) in [
            (".a |", "expected"),
            ("nope", "there is no filter nope"),
            ("$x", "$x"),
            ("import \"a\" as a; .", ""),
            ("\"", ""),
        ] {
            let error = jq(filter, "null").unwrap_err();
            assert_eq!(error.code(), "SEARCH_BAD_FILTER", "{filter}");
            assert!(error.to_string().contains(part), "{error}");
        }
        let answer = jq(".[] | .a", "[{\"a\":1},2]").unwrap();
        assert_eq!(answer.values, ["1"]);
        assert!(answer.error.unwrap().contains("cannot index 2"));
        assert!(jq(".", "{\"a\":").unwrap().error.unwrap().contains("not JSON"));
    }

    /// Breaks if a filter reads the environment, writes somewhere, or ends the process.
    #[test]
    fn filters_have_no_surroundings() {
        for filter in [
            "env",
            "halt",
            "halt_error",
            "\"x\" | halt(0)",
            "localtime",
            "stderr",
            "debug",
            "input",
            "$ENV",
            "inputs",
        ] {
            match jq(filter, "1") {
                Ok(answer) => {
                    assert!(answer.error.is_some() || answer.values == ["1"], "{filter}: {answer:?}")
                }
                Err(error) => assert_eq!(error.code(), "SEARCH_BAD_FILTER", "{filter}"),
            }
        }
        let path = std::env::var("PATH").unwrap();
        for filter in ["env", "env.PATH", "[env | .. ]"] {
            let answer = jq(filter, "1").unwrap();
            assert!(!answer.values.concat().contains(&path), "{filter}");
        }
    }

    /// Breaks if a filter that never ends, or that grows without end, takes a worker, the memory or the process.
    #[test]
    fn no_filter_takes_the_host() {
        for filter in [
            "[range(1e12)]",
            ".[1e12] = 1",
            "reduce range(1e9) as $i (null; .[$i] = $i)",
            "\"x\" * 1e12",
            "\"x\" * 1e300",
            "reduce range(1e9) as $i (.; [.])",
            "reduce range(1e9) as $i (.; {a: .})",
            "reduce range(60) as $i (.; [., .]) | tojson",
            "reduce range(60) as $i (.; [., .]) | length, . == .",
            "reduce range(1e9) as $i (\"x\"; . + .)",
            "reduce range(64) as $i (2; . * .)",
            "def f: 1 + f; f",
            "def f: [f]; f",
            "def f: f | f; f",
            "[recurse([., .])] | length",
            "[limit(1e12; repeat(1))]",
            "\"[\" * 200 | fromjson",
            "[\"a\" * 1000000 | explode | .[]] | length | [range(.)] | map(tostring) | add / \"\" | [., ., ., .] | map(.[])",
        ] {
            let started = Instant::now();
            let result = jq_within(Duration::from_secs(2), filter, "null", false);
            assert!(started.elapsed() < Duration::from_secs(20), "{filter}");
            match result {
                Err(error) => {
                    assert!(
                        ["SEARCH_JQ_FAILED", "WORKER_TIMED_OUT"].contains(&error.code()),
                        "{filter}: {error}"
                    )
                }
                Ok(answer) => assert!(answer.error.is_some() || answer.values.len() < 10, "{filter}"),
            }
        }
        for filter in [
            "def f: f; f",
            "last(repeat(1))",
            "last(range(1e18))",
            "repeat(empty)",
            "until(false; .)",
            "limit(1; repeat(empty))",
            "[.[]?] | while(true; .) | empty",
        ] {
            let started = Instant::now();
            let error = jq_within(Duration::from_millis(200), filter, "null", false).unwrap_err();
            assert_eq!(error.code(), "WORKER_TIMED_OUT", "{filter}");
            assert!(started.elapsed() < Duration::from_secs(20), "{filter}");
        }
    }

    /// Breaks if a filter or an input that is nested too deeply overflows the stack.
    #[test]
    fn deep_filters_and_inputs_end_with_an_error() {
        let size = FILTER_BYTES_MAX;
        let deep = [
            "(".repeat(size),
            "[".repeat(size),
            "{a:".repeat(size / 3),
            format!("{}1{}", "(".repeat(size / 2 - 1), ")".repeat(size / 2 - 1)),
            format!("{}1{}", "[".repeat(size / 2 - 1), "]".repeat(size / 2 - 1)),
            format!("{}1", "-".repeat(size - 1)),
            format!(".{}", "|.".repeat(size / 2 - 1)),
            format!("1{}", "+1".repeat(size / 2 - 1)),
            format!(".{}", "[0]".repeat(size / 3 - 1)),
            format!("{}.", "if . then ".repeat(size / 10 - 1)),
            format!("{}.{}", "def f: ".repeat(size / 10), ";.".repeat(size / 10)),
            format!("{}.", ". as $x|".repeat(size / 8 - 1)),
            format!("{}1", "\"\\(".repeat(size / 3 - 1)),
            format!("{}1", "try ".repeat(size / 4 - 1)),
        ];
        for filter in deep {
            // Whether it is refused or not: the process is still here.
            let _result = jq(&filter, "null").is_ok();
        }
        let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(values(".", &deep(128)), [deep(128)]);
        assert_eq!(jq(".", &deep(129)).unwrap_err().code(), "SEARCH_JQ_FAILED");
        assert_eq!(jq(".", &deep(100_000)).unwrap_err().code(), "SEARCH_JQ_FAILED");
        assert_eq!(jq("[.]", &deep(128)).unwrap_err().code(), "SEARCH_JQ_FAILED");
    }

    /// Breaks if an answer grows with what a filter gives.
    #[test]
    fn answers_are_bounded() {
        let answer = jq("range(1000000)", "null").unwrap();
        assert_eq!(answer.limits, [Limit::AnswerBytes]);
        assert!(answer.values.iter().map(|value| value.len() + 1).sum::<usize>() <= ANSWER_BYTES_MAX);
        let answer = jq("\"é\" * 1000000", "null").unwrap();
        assert_eq!((answer.limits.as_slice(), answer.values.len()), (&[Limit::AnswerBytes][..], 1));
    }
}
