//! Typed blanks: what a model fills in, read strictly and with every mistake at once.
//!
//! Models send wrong types, missing fields and invented ones; serde would stop at the first. A [`Fields`] reader
//! walks the JSON, notes each mistake with its path, and the caller decides at the end.

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{lease, plan};

/// A mistake in a blank: where it is, and what is wrong with the remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mistake {
    /// Place in the submitted JSON, such as `tasks[2].files[0]`; empty for the whole.
    pub path: String,
    pub message: String,
}

impl Mistake {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// A worker's account of its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Work {
    /// What was done and how, for the reviewer and for the tasks that depend on this one.
    pub summary: String,
    /// Every file that was created, changed or deleted, relative to the project's folder.
    pub files: Vec<String>,
    /// Only if the task cannot be done for a reason outside the project, such as a missing credential or a decision of
    /// the user: the question to the user. The task ends with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
}

/// A reviewer's judgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Review {
    /// `pass` when the objective is met, `fail` with at least one finding otherwise, `unknown` if it cannot be told.
    pub verdict: Verdict,
    /// One or two sentences on why.
    pub summary: String,
    /// What has to change before the verdict can be `pass`.
    #[serde(default)]
    pub findings: Vec<ReviewFinding>,
}

/// One thing that has to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReviewFinding {
    /// What is wrong and what would be right, so that someone who sees only this can mend it.
    pub message: String,
    /// Files that have to change, relative to the project's folder. The master review must name at least one.
    #[serde(default)]
    pub files: Vec<String>,
}

/// The judgement of a check or a reviewer. Unknown is never pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    Pass,
    Fail,
    Unknown,
}

impl Work {
    pub(crate) fn parse(value: &Value) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut fields = Fields::new(value, "", &mut mistakes);
        let summary = fields.text("summary", SUMMARY_MAX_BYTES);
        let blocked = fields.optional_text("blocked", QUESTION_MAX_BYTES);
        let work = Self { summary, files: fields.paths("files", blocked.is_some()), blocked };
        fields.done();
        finish(work, mistakes)
    }
}

impl Review {
    /// Reads a review; `master` demands files for each finding, since they become tasks with a lease.
    pub(crate) fn parse(value: &Value, master: bool) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut fields = Fields::new(value, "", &mut mistakes);
        let verdict = fields.choice(
            "verdict",
            &[("pass", Verdict::Pass), ("fail", Verdict::Fail), ("unknown", Verdict::Unknown)],
            None,
        );
        let summary = fields.text("summary", SUMMARY_MAX_BYTES);
        let findings = fields.list("findings", FINDINGS_MAX, false, |value, path, mistakes| {
            let mut fields = Fields::new(value, path, mistakes);
            let finding = ReviewFinding {
                message: fields.text("message", SUMMARY_MAX_BYTES),
                files: fields.paths("files", !master),
            };
            fields.done();
            finding
        });
        fields.done();
        let review = Self { verdict: verdict.unwrap_or(Verdict::Unknown), summary, findings };
        if review.verdict == Verdict::Fail && review.findings.is_empty() {
            mistakes
                .push(Mistake::new("findings", "a fail needs at least one finding that says what to change"));
        }
        if review.verdict == Verdict::Pass && !review.findings.is_empty() {
            mistakes.push(Mistake::new("findings", "a pass has no findings; give fail, or leave them out"));
        }
        finish(review, mistakes)
    }
}

/// The JSON schema of a blank's arguments: `plan`, `work`, `review` or `revision`; `None` for any other name.
///
/// Without references, which not every model's provider understands.
#[must_use]
pub fn schema(blank: &str) -> Option<Value> {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut schema = match blank {
        "plan" => generator.root_schema_for::<plan::Plan>(),
        "work" => generator.root_schema_for::<Work>(),
        "review" => generator.root_schema_for::<Review>(),
        "revision" => generator.root_schema_for::<plan::Revision>(),
        _ => return None,
    };
    schema.remove("title");
    schema.remove("description");
    schema.insert("additionalProperties".into(), Value::Bool(false));
    Some(schema.to_value())
}

/// Finds the blank in an answer that was given as text: the last fenced block that holds a JSON object, or the whole
/// answer if it is one.
pub(crate) fn fenced(text: &str) -> Option<Value> {
    let mut found = None;
    let mut rest = text;
    while let Some(start) = rest.find("```") {
        let block = &rest[start + 3..];
        let Some(end) = block.find("```") else { break };
        let body = block[..end].trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        if let Ok(value @ Value::Object(_)) = serde_json::from_str(body.trim()) {
            found = Some(value);
        }
        rest = &block[end + 3..];
    }
    found.or_else(|| serde_json::from_str(text.trim()).ok().filter(Value::is_object))
}

pub(crate) fn finish<T>(value: T, mistakes: Vec<Mistake>) -> Result<T, Vec<Mistake>> {
    if mistakes.is_empty() { Ok(value) } else { Err(mistakes) }
}

/// Longest free text in a blank.
pub(crate) const SUMMARY_MAX_BYTES: usize = 16 * 1024;
const QUESTION_MAX_BYTES: usize = 2 * 1024;
const FINDINGS_MAX: usize = 50;
const PATHS_MAX: usize = 200;

/// Reads the fields of one JSON object and notes every mistake under its path.
pub(crate) struct Fields<'a> {
    object: Option<&'a Map<String, Value>>,
    path: String,
    seen: Vec<&'static str>,
    mistakes: &'a mut Vec<Mistake>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(value: &'a Value, path: &str, mistakes: &'a mut Vec<Mistake>) -> Self {
        let object = value.as_object();
        if object.is_none() {
            mistakes.push(Mistake::new(path, format!("expected an object, found {}", kind(value))));
        }
        Self { object, path: path.to_owned(), seen: Vec::new(), mistakes }
    }

    /// A text that is not blank and not longer than `max_bytes`.
    pub(crate) fn text(&mut self, key: &'static str, max_bytes: usize) -> String {
        match self.get(key) {
            Some(Value::String(text)) if text.trim().is_empty() => {
                self.mistake(key, "is empty; say what is meant")
            }
            Some(Value::String(text)) if text.len() > max_bytes => {
                self.mistake(key, format!("is {} bytes; at most {max_bytes} are taken", text.len()));
            }
            Some(Value::String(text)) => return text.clone(),
            Some(other) => self.mistake(key, format!("expected a text, found {}", kind(other))),
            None => self.mistake(key, "is missing"),
        }
        String::new()
    }

    /// A text as above that may be absent.
    pub(crate) fn optional_text(&mut self, key: &'static str, max_bytes: usize) -> Option<String> {
        match self.get(key) {
            None | Some(Value::Null) => None,
            Some(_) => Some(self.text(key, max_bytes)).filter(|text| !text.is_empty()),
        }
    }

    /// One of the given words; absent gives `default`, or a mistake when there is none.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
        default: Option<T>,
    ) -> Option<T> {
        let expected = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        match self.get(key) {
            Some(Value::String(text)) => {
                let found = words.iter().find(|(word, _)| word == text);
                if found.is_none() {
                    self.mistake(key, format!("expected one of {expected}, found {text:?}"));
                }
                return found.map(|(_, value)| *value);
            }
            None | Some(Value::Null) if default.is_some() => return default,
            None => self.mistake(key, format!("is missing; expected one of {expected}")),
            Some(other) => self.mistake(key, format!("expected one of {expected}, found {}", kind(other))),
        }
        None
    }

    /// A whole number within the range; absent gives `default`.
    pub(crate) fn whole(&mut self, key: &'static str, range: RangeInclusive<u64>, default: u64) -> u64 {
        match self.get(key) {
            None | Some(Value::Null) => default,
            Some(value) => value.as_u64().filter(|number| range.contains(number)).unwrap_or_else(|| {
                let (min, max) = range.into_inner();
                self.mistake(key, format!("expected a whole number from {min} to {max}, found {value}"));
                default
            }),
        }
    }

    /// A list, each element read by `read` with its path. `optional` allows it to be absent or empty.
    pub(crate) fn list<T>(
        &mut self,
        key: &'static str,
        max: usize,
        required: bool,
        mut read: impl FnMut(&Value, &str, &mut Vec<Mistake>) -> T,
    ) -> Vec<T> {
        let items = match self.get(key) {
            Some(Value::Array(items)) if items.len() > max => {
                self.mistake(key, format!("has {} entries; at most {max} are taken", items.len()));
                return Vec::new();
            }
            Some(Value::Array(items)) if items.is_empty() && required => {
                self.mistake(key, "is empty; at least one entry is needed");
                return Vec::new();
            }
            Some(Value::Array(items)) => items,
            None | Some(Value::Null) if !required => return Vec::new(),
            None => {
                self.mistake(key, "is missing");
                return Vec::new();
            }
            Some(other) => {
                self.mistake(key, format!("expected a list, found {}", kind(other)));
                return Vec::new();
            }
        };
        let path = self.join(key);
        items
            .iter()
            .enumerate()
            .map(|(index, item)| read(item, &format!("{path}[{index}]"), self.mistakes))
            .collect()
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, key: &'static str, max: usize, required: bool) -> Vec<String> {
        self.list(key, max, required, text_item)
    }

    /// A list of paths inside the project, in their one spelling.
    pub(crate) fn paths(&mut self, key: &'static str, optional: bool) -> Vec<String> {
        self.list(key, PATHS_MAX, !optional, |item, path, mistakes| {
            let text = text_item(item, path, mistakes);
            if text.is_empty() {
                return text;
            }
            lease::normalize(&text).unwrap_or_else(|mistake| {
                mistakes.push(Mistake::new(path, format!("the path {text:?} {mistake}")));
                String::new()
            })
        })
    }

    /// Notes a mistake for every field that nobody asked for.
    pub(crate) fn done(self) {
        let Some(object) = self.object else { return };
        for key in object.keys().filter(|key| !self.seen.contains(&key.as_str())) {
            let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            let message = format!("no such field; known are {}", self.seen.join(", "));
            self.mistakes.push(Mistake::new(path, message));
        }
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        if !self.seen.contains(&key) {
            self.seen.push(key);
        }
        self.object?.get(key)
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn mistake(&mut self, key: &str, message: impl Into<String>) {
        // A value that is no object has been reported once; its absent fields are not further mistakes.
        if self.object.is_some() {
            let path = self.join(key);
            self.mistakes.push(Mistake::new(path, message));
        }
    }
}

pub(crate) fn text_item(item: &Value, path: &str, mistakes: &mut Vec<Mistake>) -> String {
    let message = match item.as_str() {
        Some(text) if !text.trim().is_empty() => return text.to_owned(),
        Some(_) => "is empty".to_owned(),
        None => format!("expected a text, found {}", kind(item)),
    };
    mistakes.push(Mistake::new(path, message));
    String::new()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_mistake_of_a_review_is_named() {
        let mistakes =
            Review::parse(&json!({"verdict": "ok", "findings": [{"files": ["../x"]}], "note": 1}), true)
                .unwrap_err();
        let paths: Vec<_> = mistakes.iter().map(|mistake| mistake.path.as_str()).collect();
        assert_eq!(paths, ["verdict", "summary", "findings[0].message", "findings[0].files[0]", "note"]);
    }

    #[test]
    fn a_fail_without_findings_is_refused() {
        let bare = json!({"verdict": "fail", "summary": "no"});
        assert_eq!(Review::parse(&bare, false).unwrap_err()[0].path, "findings");
        let files_missing = json!({"verdict": "fail", "summary": "no", "findings": [{"message": "x"}]});
        assert!(Review::parse(&files_missing, false).is_ok());
        assert_eq!(Review::parse(&files_missing, true).unwrap_err()[0].path, "findings[0].files");
    }

    #[test]
    fn a_blank_in_a_fence_is_found() {
        let value = json!({"a": 1});
        assert_eq!(fenced("Here:\n```json\n{\"a\": 1}\n```\nthanks"), Some(value.clone()));
        assert_eq!(fenced("```\n{\"b\": 2}\n```\n```json\n{\"a\":1}```"), Some(value.clone()));
        assert_eq!(fenced(" {\"a\": 1} "), Some(value));
        assert_eq!(fenced("```js\nlet a = {};\n```"), None);
        assert_eq!(fenced("done"), None);
    }

    #[test]
    fn something_that_is_no_object_is_one_mistake() {
        assert_eq!(Work::parse(&json!("done")).unwrap_err().len(), 1);
    }
}
