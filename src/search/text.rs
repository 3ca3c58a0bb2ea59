//! A file's bytes as text, and back.

use encoding_rs::{UTF_16BE, UTF_16LE};
use std::borrow::Cow;
use std::io::{self, Read};

/// How a file's text is written as bytes, told by its byte-order mark. Without one it is UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    Utf8Bom,
    Utf16Le,
    Utf16Be,
}

impl Encoding {
    /// Tells the encoding, and how many bytes its mark takes.
    fn of(bytes: &[u8]) -> (Encoding, usize) {
        match bytes {
            [0xEF, 0xBB, 0xBF, ..] => (Encoding::Utf8Bom, 3),
            [0xFF, 0xFE, ..] => (Encoding::Utf16Le, 2),
            [0xFE, 0xFF, ..] => (Encoding::Utf16Be, 2),
            [..] => (Encoding::Utf8, 0),
        }
    }

    /// Returns `text` as bytes, with the mark if there is one.
    pub(crate) fn encode(self, text: &str) -> Vec<u8> {
        let units = |mark: [u8; 2], bytes: fn(u16) -> [u8; 2]| {
            mark.into_iter().chain(text.encode_utf16().flat_map(bytes)).collect()
        };
        match self {
            Encoding::Utf8 => text.as_bytes().to_vec(),
            Encoding::Utf8Bom => [b"\xEF\xBB\xBF", text.as_bytes()].concat(),
            Encoding::Utf16Le => units([0xFF, 0xFE], u16::to_le_bytes),
            Encoding::Utf16Be => units([0xFE, 0xFF], u16::to_be_bytes),
        }
    }
}

/// Reads into all of `buffer`, or to the end; returns how much. Where the size is known, the end need not be asked for.
pub(crate) fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read_bytes = 0;
    while read_bytes < buffer.len() {
        match reader.read(&mut buffer[read_bytes..]) {
            Ok(0) => break,
            Ok(count) => read_bytes += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read_bytes)
}

/// Returns the text of a file without its mark, odd bytes replaced; `None` for binary data, which is what holds a NUL.
pub(crate) fn decode_lossy(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let (encoding, mark_bytes) = Encoding::of(bytes);
    let rest = &bytes[mark_bytes..];
    let text = match encoding {
        Encoding::Utf8 | Encoding::Utf8Bom if rest.contains(&0) => return None,
        Encoding::Utf8 | Encoding::Utf8Bom => String::from_utf8_lossy(rest),
        Encoding::Utf16Le => UTF_16LE.decode_without_bom_handling(rest).0,
        Encoding::Utf16Be => UTF_16BE.decode_without_bom_handling(rest).0,
    };
    if text.contains('\0') { None } else { Some(text) }
}

/// Returns the text of a file without its mark, and its encoding, such that encoding it gives the same bytes.
///
/// # Errors
///
/// What is wrong with it: binary data, or bytes that are not valid in its encoding.
pub(crate) fn decode(bytes: &[u8]) -> Result<(String, Encoding), &'static str> {
    let (encoding, mark_bytes) = Encoding::of(bytes);
    let rest = &bytes[mark_bytes..];
    let text = match encoding {
        Encoding::Utf8 | Encoding::Utf8Bom => {
            std::str::from_utf8(rest).map_err(|_invalid| "it is not valid UTF-8")?.to_owned()
        }
        Encoding::Utf16Le | Encoding::Utf16Be => {
            let decoder = if encoding == Encoding::Utf16Le { UTF_16LE } else { UTF_16BE };
            let text = decoder.decode_without_bom_handling_and_without_replacement(rest);
            text.ok_or("it is not valid UTF-16")?.into_owned()
        }
    };
    if text.contains('\0') { Err("it holds binary data") } else { Ok((text, encoding)) }
}

/// Returns how most lines of `text` end: `\r\n` or `\n`.
pub(crate) fn line_end(text: &str) -> &'static str {
    let all = text.bytes().filter(|byte| *byte == b'\n').count();
    if text.matches("\r\n").count() * 2 > all { "\r\n" } else { "\n" }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks if an edit changes the encoding, the mark or the line ends of what it leaves alone.
    #[test]
    fn text_goes_there_and_back() {
        for (bytes, text, encoding) in [
            (&b"a\r\n\xC3\xA9"[..], "a\r\né", Encoding::Utf8),
            (b"\xEF\xBB\xBFa\n", "a\n", Encoding::Utf8Bom),
            (b"\xFF\xFEa\0\xAC\x20", "a€", Encoding::Utf16Le),
            (b"\xFE\xFF\0a\x20\xAC", "a€", Encoding::Utf16Be),
            (b"", "", Encoding::Utf8),
        ] {
            assert_eq!(decode(bytes), Ok((text.to_owned(), encoding)));
            assert_eq!(encoding.encode(text), bytes);
            assert_eq!(decode_lossy(bytes).as_deref(), Some(text));
        }
    }

    /// Breaks if what is no text is edited, or if a lone surrogate or odd byte spoils a search.
    #[test]
    fn what_is_no_text_is_told_apart() {
        for (bytes, reason, lossy) in [
            (&b"caf\xE9"[..], "it is not valid UTF-8", Some("caf\u{fffd}")),
            (b"a\0b", "it holds binary data", None),
            (b"\xFF\xFE\x3D\xD8a\0", "it is not valid UTF-16", Some("\u{fffd}a")),
            (b"\xFF\xFEa\0b", "it is not valid UTF-16", Some("a\u{fffd}")),
            (b"\xFF\xFEa\0\0\0", "it holds binary data", None),
        ] {
            assert_eq!(decode(bytes), Err(reason));
            assert_eq!(decode_lossy(bytes).as_deref(), lossy);
        }
    }

    /// Breaks if inserted lines get other ends than their neighbours.
    #[test]
    fn the_end_of_most_lines_counts() {
        for (text, expected) in [("", "\n"), ("a\r\nb\r\nc\n", "\r\n"), ("a\r\nb\n", "\n"), ("a", "\n")] {
            assert_eq!(line_end(text), expected, "{text:?}");
        }
    }
}
