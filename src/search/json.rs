//! JSON, and what jaq takes besides, read into jaq's values.
//!
//! It takes what jaq's own reader takes and gives the same values: several one after another, with comments, numbers kept
//! as they are written, fields in the order of their first appearance. It differs in what it costs. A text without
//! escapes is a part of the input, not a copy; an object is as large from the start as the one before it; how deep the
//! input is nested is counted on the way; and a call can be stopped while it reads. What is rare is left to the lexer
//! that jaq reads with.

use crate::limit::{JSON_DEPTH_MAX, JSON_DIGITS_MAX};
use bytes::Bytes;
use hifijson::escape::{self, Lex as _};
use hifijson::num::LexWrite as _;
use hifijson::str::LexWrite as _;
use hifijson::{Expect, Read as _, SliceLexer};
use jaq_json::{Map, Num, Val};
use std::fmt;

/// How many values are read between two looks at the clock.
const VALUES_PER_LOOK: u32 = 256;
/// How many digits always fit into an integer of the machine.
const SMALL_DIGITS_MAX: usize = 18;

/// Why there is no value.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The input is no JSON.
    Wrong { at: usize, reason: hifijson::Error },
    /// The input is more than is read.
    Limit(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Wrong { at, reason } => write!(formatter, "byte offset {at}: {reason}"),
            Fault::Limit(reason) => formatter.write_str(reason),
        }
    }
}

/// Reads one value after another.
pub(crate) struct Reader<'a> {
    input: &'a Bytes,
    rest: &'a [u8],
    /// Called every some hundred values; it may unwind.
    look: fn(),
    values: u32,
    depth: usize,
    /// How many fields the last object had, for each depth. A hint that comes from one object only, and serves one, so that
    /// all objects together take at most twice what they need.
    fields: [usize; JSON_DEPTH_MAX],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(input: &'a Bytes, look: fn()) -> Reader<'a> {
        Reader { input, rest: input, look, values: 0, depth: 0, fields: [0; JSON_DEPTH_MAX] }
    }

    /// Reads the only value there is.
    pub(crate) fn read_single(&mut self) -> Result<Val, Fault> {
        let val = self.next().unwrap_or_else(|| Err(self.wrong(Expect::Value.into())))?;
        if self.peek().is_some() { Err(self.wrong(Expect::Eof.into())) } else { Ok(val) }
    }

    fn wrong(&self, reason: hifijson::Error) -> Fault {
        Fault::Wrong { at: self.input.len() - self.rest.len(), reason }
    }

    /// Skips white space and comments, and returns what comes next.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.rest {
                [b' ' | b'\t' | b'\r' | b'\n', ref rest @ ..] => self.rest = rest,
                [b'#', ..] => {
                    let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
                    self.rest = &self.rest[end..];
                }
                [next, ..] => return Some(next),
                [] => return None,
            }
        }
    }

    /// As [`Reader::peek`], where something must come.
    fn expect(&mut self, expected: Expect) -> Result<u8, Fault> {
        self.peek().ok_or_else(|| self.wrong(expected.into()))
    }

    fn skip(&mut self, count: usize) {
        self.rest = &self.rest[count..];
    }

    /// Takes `word` if it comes next.
    fn take(&mut self, word: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(word);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Leaves it to jaq's lexer to read on.
    fn lex<T>(
        &mut self,
        read: impl FnOnce(&mut SliceLexer<'a>) -> Result<T, hifijson::Error>,
    ) -> Result<T, Fault> {
        let mut lexer = SliceLexer::new(self.rest);
        let result = read(&mut lexer);
        self.rest = lexer.as_slice();
        result.map_err(|reason| self.wrong(reason))
    }

    /// Reads the value that begins with `next`.
    fn value(&mut self, next: u8) -> Result<Val, Fault> {
        self.values += 1;
        if self.values == VALUES_PER_LOOK {
            self.values = 0;
            (self.look)();
        }
        match next {
            b'"' => self.text(),
            b'{' => self.nested(Reader::object),
            b'[' => self.nested(Reader::array),
            b'0'..=b'9' | b'+' | b'-' => self.number(),
            b'n' if self.take(b"null") => Ok(Val::Null),
            b't' if self.take(b"true") => Ok(Val::Bool(true)),
            b'f' if self.take(b"false") => Ok(Val::Bool(false)),
            b'N' if self.take(b"NaN") => Ok(Val::from(f64::NAN)),
            b'I' if self.take(b"Infinity") => Ok(Val::from(f64::INFINITY)),
            b'b' if self.take(b"b\"") => self.lex(|lexer| decode(lexer, true)).map(Val::byte_str),
            _ => Err(self.wrong(Expect::Value.into())),
        }
    }

    fn text(&mut self) -> Result<Val, Fault> {
        self.skip(1);
        let length = self.rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F));
        match length {
            Some(length) if self.rest[length] == b'"' => {
                let start = self.input.len() - self.rest.len();
                self.skip(length + 1);
                Ok(Val::utf8_str(self.input.slice(start..start + length)))
            }
            Some(_) | None => self.lex(|lexer| decode(lexer, false)).map(Val::utf8_str),
        }
    }

    fn number(&mut self) -> Result<Val, Fault> {
        let is_negative = self.rest[0] == b'-';
        let digits = &self.rest[usize::from(is_negative)..];
        let count = digits.iter().take(SMALL_DIGITS_MAX).take_while(|byte| byte.is_ascii_digit()).count();
        let is_whole = !matches!(digits.get(count), Some(b'0'..=b'9' | b'.' | b'e' | b'E'));
        // After a minus, jaq's lexer takes a zero for the whole number.
        if count > 0 && is_whole && !(is_negative && digits[0] == b'0') {
            let number =
                digits[..count].iter().fold(0, |number, digit| number * 10 + isize::from(digit - b'0'));
            self.skip(usize::from(is_negative) + count);
            return Ok(Val::from(if is_negative { -number } else { number }));
        }
        let look = self.look;
        let number = self.lex(|lexer| {
            let (text, parts) = lexer.num_string_with(hifijson::num::Num::signed_digits()).unvalidated();
            Ok(match text {
                "+" if lexer.strip_prefix(b"Infinity") => Some(Num::Float(f64::INFINITY)),
                "-" if lexer.strip_prefix(b"Infinity") => Some(Num::Float(f64::NEG_INFINITY)),
                _ if !text.ends_with(|last: char| last.is_ascii_digit()) => {
                    return Err(hifijson::num::Error::ExpectedDigit.into());
                }
                _ if !parts.is_int() => Some(Num::Dec(text.to_owned().into())),
                _ if text.len() > JSON_DIGITS_MAX => None,
                _ => {
                    look();
                    Num::from_str_radix(text, 10)
                }
            })
        })?;
        number.map(Val::Num).ok_or(Fault::Limit("an integer is too large"))
    }

    fn nested(&mut self, read: fn(&mut Reader<'a>) -> Result<Val, Fault>) -> Result<Val, Fault> {
        if self.depth == JSON_DEPTH_MAX {
            return Err(Fault::Limit("the JSON is nested more than 128 levels deep"));
        }
        self.skip(1);
        self.depth += 1;
        let val = read(self);
        self.depth -= 1;
        val
    }

    fn array(&mut self) -> Result<Val, Fault> {
        let mut values = Vec::new();
        let mut item = self.begin(b']')?;
        while let Some(next) = item {
            values.push(self.value(next)?);
            item = self.go_on(b']')?;
        }
        Ok(Val::Arr(values.into()))
    }

    fn object(&mut self) -> Result<Val, Fault> {
        let Some(mut next) = self.begin(b'}')? else { return Ok(Val::obj(Map::default())) };
        let place = self.depth - 1;
        let mut fields = Map::with_capacity_and_hasher(self.fields[place], Default::default());
        loop {
            let key = self.value(next)?;
            if self.peek() != Some(b':') {
                return Err(self.wrong(Expect::Colon.into()));
            }
            self.skip(1);
            next = self.expect(Expect::Value)?;
            fields.insert(key, self.value(next)?);
            let Some(item) = self.go_on(b'}')? else { break };
            next = item;
        }
        self.fields[place] = fields.len();
        Ok(Val::obj(fields))
    }

    /// Returns how the first item begins; `None` when there is none.
    fn begin(&mut self, end: u8) -> Result<Option<u8>, Fault> {
        let next = self.expect(Expect::ValueOrEnd)?;
        if next != end {
            return Ok(Some(next));
        }
        self.skip(1);
        Ok(None)
    }

    /// Reads what follows an item, and returns how the next one begins; `None` after `end`.
    fn go_on(&mut self, end: u8) -> Result<Option<u8>, Fault> {
        match self.expect(Expect::CommaOrEnd)? {
            b',' => {
                self.skip(1);
                self.expect(Expect::Value).map(Some)
            }
            next if next == end => {
                self.skip(1);
                Ok(None)
            }
            _ => Err(self.wrong(Expect::CommaOrEnd.into())),
        }
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<Val, Fault>;

    fn next(&mut self) -> Option<Result<Val, Fault>> {
        let next = self.peek()?;
        Some(self.value(next))
    }
}

/// Reads a text, or a text of bytes, up to the quote that ends it.
fn decode(lexer: &mut SliceLexer<'_>, is_bytes: bool) -> Result<Vec<u8>, hifijson::Error> {
    let plain = |part: &mut &[u8], text: &mut Vec<u8>| {
        text.extend_from_slice(part);
        Ok(())
    };
    let text = lexer.str_fold(Vec::new(), plain, |lexer, text| {
        match lexer.take_next().ok_or(escape::Error::Eof)? {
            b'u' if is_bytes => return Err(escape::Error::InvalidKind(b'u').into()),
            b'x' if is_bytes => text.push(lexer.hex()?),
            kind => text.extend_from_slice(lexer.escape(kind)?.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        Ok::<_, hifijson::str::Error>(())
    });
    text.map_err(hifijson::Error::Str)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use jaq_json::read;
    use std::cell::Cell;

    /// What a reader gives up to its first fault, as text, in which numbers are as they are kept and fields in their order.
    fn shown<E: fmt::Display>(results: impl Iterator<Item = Result<Val, E>>) -> Vec<String> {
        let mut is_over = false;
        let results = results.take_while(|result| !std::mem::replace(&mut is_over, result.is_err()));
        results
            .map(|result| result.map_or_else(|fault| fault.to_string(), |val| format!("{val:?}")))
            .collect()
    }

    /// Returns what the reader gives, and what jaq's own gives.
    pub(crate) fn both(input: &[u8]) -> [Vec<String>; 2] {
        let bytes = Bytes::copy_from_slice(input);
        let mut ours = shown(Reader::new(&bytes, || ()));
        ours.extend(shown([Reader::new(&bytes, || ()).read_single()].into_iter()));
        let mut theirs = shown(read::parse_many(input));
        theirs.extend(shown([read::parse_single(input)].into_iter()));
        [ours, theirs]
    }

    /// Breaks if something is read as another value than jaq's own reader makes of it, or refused elsewhere.
    #[test]
    fn inputs_are_read_as_jaq_reads_them() {
        let texts = [
            r#""" "a" "é" "a\"b" "\\" "\\\"" "\/\b\f\n\r\t" "\u00e9\u0000" "😀""#,
            r#""\ud83d" "#,
            r#""\ud83dx" "#,
            r#""\ud83d\u0041" "#,
            r#""\ude00" "#,
            r#""\u00g0" "#,
            r#""\x41" "#,
            r#""\"#,
            r#""\u00"#,
            "\"a\nb\"",
            "\"a\\n\u{1}\"",
            "\"a\u{7f}b\"",
            "\"abc",
            r#"b"" b"a\xff\"\n" b"\\""#,
            r#"b"\u0041""#,
            r#"b"\xg""#,
            "b",
            "'a'",
        ];
        let numbers = [
            "0 -0 7 -7 007 +1 +007 123456789012345678 1234567890123456789 -1234567890123456789",
            "9223372036854775807 9223372036854775808 -9223372036854775808 -9223372036854775809",
            "123456789012345678901234567890 -123456789012345678901234567890",
            "1.10 -1.10 1e3 1E+3 1e-3 0.0 -0.5 100000000000000000000.5",
            "-007",
            "[-007]",
            "-01.5",
            "1.",
            "1.e3",
            "1e",
            "1e+",
            "-",
            "+",
            "--1",
            "+-1",
            "1-2",
            "1+2",
            ".5",
            "1.2.3",
            "1e2e3",
            "0x10",
            "1a",
            "NaN Infinity +Infinity -Infinity",
            "-NaN",
            "-Inf",
            "+Infinit",
            "nan",
        ];
        let words =
            ["null true false", "nulltrue", "nul", "True", "undefined", "nullx", "\u{feff}1", "\0", "/**/1"];
        let nested = [
            "[]",
            "{}",
            "[ ]",
            "{ \n}",
            "[[],{},[[]]]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[1}",
            "[",
            "[1",
            "[1,",
            "]",
            "}",
            ",",
            ":",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1"#,
            r#"{"a":1,}"#,
            r#"{"a" 1}"#,
            r#"{"a":1]"#,
            "{",
            "{,}",
            r#"{"a":1,"b":2,"a":3}"#,
            r#"{"a":1,"\u0061":{"b":[]},"c":null}"#,
            r#"{1:2,null:3,[1]:4,{"a":1}:5,1.0:6}"#,
            r#"[{"a":1,"b":2},{"a":1},{},{"c":[{"a":1},{"b":2,"c":3}]}]"#,
        ];
        let spaced = [
            "",
            "  \n",
            "# only a comment",
            "1 # one\n2",
            "[1,#\n2 # [\n] # end",
            "\t{ \"a\" :\r\n 1 , # c\n \"b\" : 2 }",
            "1\u{a0}2",
            "1\u{c}2",
        ];
        for input in texts.iter().chain(&numbers).chain(&words).chain(&nested).chain(&spaced) {
            let [ours, theirs] = both(input.as_bytes());
            assert_eq!(ours, theirs, "{input:?}");
            // However it is cut off.
            for end in 0..input.len() {
                let [ours, theirs] = both(&input.as_bytes()[..end]);
                assert_eq!(ours, theirs, "{:?}", &input.as_bytes()[..end]);
            }
        }
        let [ours, theirs] = both(b"\"a\xffb\" \"\\n\xc3\" [\"\xf0\x9f\"] \xff");
        assert_eq!(ours, theirs);
    }

    /// Breaks if an input can make the reader recurse until the stack is full, or what may be read is refused.
    #[test]
    fn inputs_are_as_deep_as_they_may_be() {
        let depth_max = JSON_DEPTH_MAX;
        let arrays = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let objects = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        let fault = |input: String| {
            let input = Bytes::from(input);
            Reader::new(&input, || ()).find_map(Result::err).map(|fault| fault.to_string())
        };
        let too_deep = Some("the JSON is nested more than 128 levels deep".to_owned());
        for make in [arrays, objects] {
            assert_eq!(fault(make(depth_max)), None);
            assert_eq!(fault(make(depth_max + 1)), too_deep);
            assert_eq!(fault(make(1_000_000)), too_deep);
            // One beside another is not deeper, nor is what a text or a comment holds.
            assert_eq!(fault(format!("[{0},{0}] {0}", make(depth_max - 1))), None);
        }
        assert_eq!(fault(format!("{:?} #{}\n", "[".repeat(1_000), "[".repeat(1_000))), None);
        assert_eq!(fault("[".repeat(1_000_000)), too_deep);
        assert_eq!(fault("{".repeat(depth_max + 1)), too_deep);
    }

    /// Breaks if a long number holds a worker for as long as it likes.
    #[test]
    fn integers_are_bounded() {
        let read = |input: String| Reader::new(&Bytes::from(input), || ()).read_single();
        assert!(read("9".repeat(JSON_DIGITS_MAX)).is_ok());
        assert!(matches!(read("9".repeat(JSON_DIGITS_MAX + 1)), Err(Fault::Limit(_))));
        assert!(read(format!("1.{}", "0".repeat(JSON_DIGITS_MAX))).is_ok());
    }

    /// Breaks if a call cannot be stopped while it reads.
    #[test]
    fn the_clock_is_looked_at_while_reading() {
        thread_local! {
            static LOOKS: Cell<usize> = const { Cell::new(0) };
        }
        let count = 100_000;
        for item in ["1,", "[],", "{\"a\":1},", "\"a\",", "99999999999999999999,"] {
            LOOKS.set(0);
            let input = Bytes::from(format!("[{}1]", item.repeat(count)));
            assert!(Reader::new(&input, || LOOKS.set(LOOKS.get() + 1)).read_single().is_ok());
            assert!(LOOKS.get() >= count / VALUES_PER_LOOK as usize, "{item}");
        }
    }

    /// Breaks if a text is copied that could be a part of the input.
    #[test]
    fn texts_are_parts_of_the_input() {
        let input = Bytes::from_static(br#"["a text", "an \\ escape"]"#);
        let Ok(Val::Arr(texts)) = Reader::new(&input, || ()).read_single() else { panic!("no array") };
        let places = texts.iter().map(|text| {
            let Val::TStr(text) = text else { panic!("{text:?} is no text") };
            input.as_ptr_range().contains(&text.as_ptr())
        });
        assert_eq!(places.collect::<Vec<_>>(), [true, false]);
    }
}
