//! An outline of code: what is defined where, nested as it is in the source.
//!
//! One small query of definitions per language, with the same kinds in all of them. The queries that grammar crates ship
//! are made for jumping to references: they call a struct and an enum a class, and leave out constructors, enums and
//! constants.

use crate::answer::{Coverage, Cursor, count_of, show};
use crate::collect::Collector;
use crate::error::SearchError;
use crate::limit::{ANSWER_BYTES_MAX, Limit, PATTERN_BYTES_MAX, RESULTS_MAX};
use crate::query::{ToText, Tool, check_range, default_path, default_results};
use crate::root::Root;
use crate::shape::{is_of, parse, read_source};
use crate::walk::{Counts, Filter, FoundFile, Search, Visit, Walk, check_length};
use ast_grep_core::tree_sitter::LanguageExt;
use ast_grep_language::SupportLang;
use orchestrator_worker::Scope;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::OnceLock;
use tree_sitter::{Query, QueryCursor, StreamingIterator};

/// The definitions of each language. The capture of a node is its kind; `@name` its name; `@of` what a method belongs to
/// or a trait is implemented for; `@kind` a word of the source that is the kind.
const QUERIES: &[(SupportLang, &str)] = &[
    (SupportLang::Bash, "(function_definition name: (word) @name) @function"),
    (SupportLang::C, C),
    (SupportLang::Cpp, CPP),
    (
        SupportLang::CSharp,
        "(namespace_declaration name: (_) @name) @namespace
         (file_scoped_namespace_declaration name: (_) @name) @namespace
         (class_declaration name: (identifier) @name) @class
         (struct_declaration name: (identifier) @name) @struct
         (record_declaration name: (identifier) @name) @record
         (interface_declaration name: (identifier) @name) @interface
         (enum_declaration name: (identifier) @name) @enum
         (delegate_declaration name: (identifier) @name) @delegate
         (constructor_declaration name: (identifier) @name) @constructor
         (method_declaration name: (identifier) @name) @method
         (property_declaration name: (identifier) @name) @property",
    ),
    (
        SupportLang::Dart,
        "(class_declaration name: (identifier) @name) @class
         (mixin_declaration (identifier) @name) @mixin
         (extension_declaration name: (identifier) @name) @extension
         (enum_declaration name: (identifier) @name) @enum
         (type_alias (type_identifier) @name) @type
         (function_declaration signature: (function_signature name: (identifier) @name)) @function
         (method_signature (function_signature name: (identifier) @name)) @method
         (method_signature (getter_signature name: (identifier) @name)) @getter
         (method_signature (setter_signature name: (identifier) @name)) @setter",
    ),
    (
        SupportLang::Elixir,
        r#"(call target: (identifier) @kind (arguments (alias) @name)
             (#any-of? @kind "defmodule" "defprotocol" "defimpl")) @module
         (call target: (identifier) @kind
             (arguments [(identifier) @name (call target: (identifier) @name)
                 (binary_operator left: (call target: (identifier) @name) operator: "when")])
             (#any-of? @kind "def" "defp" "defmacro" "defmacrop" "defguard" "defguardp" "defdelegate")) @function"#,
    ),
    (
        SupportLang::Go,
        "(function_declaration name: (identifier) @name) @function
         (method_declaration
             receiver: (parameter_list (parameter_declaration type: (_) @of))
             name: (field_identifier) @name) @method
         (type_spec name: (type_identifier) @name type: (struct_type)) @struct
         (type_spec name: (type_identifier) @name type: (interface_type)) @interface
         (type_spec name: (type_identifier) @name) @type
         (type_alias name: (type_identifier) @name) @type
         (source_file (const_declaration (const_spec name: (identifier) @name) @constant))
         (source_file (var_declaration (var_spec name: (identifier) @name) @variable))
         (source_file (var_declaration (var_spec_list (var_spec name: (identifier) @name) @variable)))",
    ),
    (
        SupportLang::Haskell,
        "(data_type name: (_) @name) @data
         (newtype name: (_) @name) @newtype
         (type_synonym name: (_) @name) @type
         (class name: (_) @name) @class
         (signature name: (variable) @name) @function",
    ),
    (
        SupportLang::Java,
        "(class_declaration name: (identifier) @name) @class
         (interface_declaration name: (identifier) @name) @interface
         (enum_declaration name: (identifier) @name) @enum
         (record_declaration name: (identifier) @name) @record
         (annotation_type_declaration name: (identifier) @name) @annotation
         (constructor_declaration name: (identifier) @name) @constructor
         (method_declaration name: (identifier) @name) @method",
    ),
    (SupportLang::JavaScript, JAVASCRIPT),
    (
        SupportLang::Kotlin,
        r#"(class_declaration "interface" (type_identifier) @name) @interface
         (class_declaration "enum" (type_identifier) @name) @enum
         (class_declaration (type_identifier) @name) @class
         (object_declaration (type_identifier) @name) @object
         (companion_object (type_identifier) @name) @object
         (type_alias (type_identifier) @name) @type
         (function_declaration (simple_identifier) @name) @function
         (source_file (property_declaration (variable_declaration (simple_identifier) @name)) @property)
         (class_body (property_declaration (variable_declaration (simple_identifier) @name)) @property)"#,
    ),
    (
        SupportLang::Lua,
        "(function_declaration name: (_) @name) @function
         (assignment_statement
             (variable_list . name: (_) @name)
             (expression_list . value: (function_definition))) @function",
    ),
    (
        SupportLang::Markdown,
        "(section (atx_heading heading_content: (_) @name)) @heading
         (section (setext_heading heading_content: (_) @name)) @heading",
    ),
    (
        SupportLang::Php,
        "(namespace_definition name: (namespace_name) @name) @namespace
         (interface_declaration name: (name) @name) @interface
         (trait_declaration name: (name) @name) @trait
         (class_declaration name: (name) @name) @class
         (enum_declaration name: (name) @name) @enum
         (function_definition name: (name) @name) @function
         (method_declaration name: (name) @name) @method
         (const_declaration (const_element (name) @name)) @constant",
    ),
    (
        SupportLang::Python,
        "(class_definition name: (identifier) @name) @class
         (function_definition name: (identifier) @name) @function
         (module (expression_statement (assignment left: (identifier) @name) @variable))",
    ),
    (
        SupportLang::Ruby,
        "(module name: (_) @name) @module
         (class name: (_) @name) @class
         (method name: (_) @name) @method
         (singleton_method name: (_) @name) @method
         (assignment left: (constant) @name) @constant",
    ),
    (
        SupportLang::Rust,
        "(mod_item name: (identifier) @name) @module
         (struct_item name: (type_identifier) @name) @struct
         (enum_item name: (type_identifier) @name) @enum
         (union_item name: (type_identifier) @name) @union
         (trait_item name: (type_identifier) @name) @trait
         (type_item name: (type_identifier) @name) @type
         (impl_item trait: (_) @name type: (_) @of) @impl
         (impl_item !trait type: (_) @name) @impl
         (function_item name: (identifier) @name) @function
         (function_signature_item name: (identifier) @name) @function
         (const_item name: (identifier) @name) @constant
         (static_item name: (identifier) @name) @static
         (macro_definition name: (identifier) @name) @macro",
    ),
    (
        SupportLang::Scala,
        "(trait_definition name: (identifier) @name) @trait
         (class_definition name: (identifier) @name) @class
         (object_definition name: (identifier) @name) @object
         (enum_definition name: (identifier) @name) @enum
         (type_definition name: (type_identifier) @name) @type
         (function_definition name: (identifier) @name) @function
         (function_declaration name: (identifier) @name) @function
         (given_definition name: (identifier) @name) @given
         (template_body (val_definition pattern: (identifier) @name) @value)
         (compilation_unit (val_definition pattern: (identifier) @name) @value)",
    ),
    (
        SupportLang::Solidity,
        "(contract_declaration name: (identifier) @name) @contract
         (interface_declaration name: (identifier) @name) @interface
         (library_declaration name: (identifier) @name) @library
         (struct_declaration name: (identifier) @name) @struct
         (enum_declaration name: (identifier) @name) @enum
         (event_definition name: (identifier) @name) @event
         (modifier_definition name: (identifier) @name) @modifier
         (function_definition name: (identifier) @name) @function",
    ),
    (
        SupportLang::Swift,
        r#"(class_declaration declaration_kind: _ @kind name: (_) @name) @class
         (protocol_declaration name: (type_identifier) @name) @protocol
         (typealias_declaration name: (type_identifier) @name) @type
         (function_declaration name: (simple_identifier) @name) @function
         (protocol_function_declaration name: (simple_identifier) @name) @function
         (init_declaration "init" @name) @constructor
         (source_file (property_declaration (pattern (simple_identifier) @name)) @property)
         (class_body (property_declaration (pattern (simple_identifier) @name)) @property)"#,
    ),
    (SupportLang::Tsx, TYPESCRIPT),
    (SupportLang::TypeScript, TYPESCRIPT),
    (
        SupportLang::Zig,
        "(function_declaration name: (identifier) @name) @function
         (source_file (variable_declaration (identifier) @name (struct_declaration)) @struct)
         (source_file (variable_declaration (identifier) @name (enum_declaration)) @enum)
         (source_file (variable_declaration (identifier) @name (union_declaration)) @union)",
    ),
];

const C: &str = "
    (function_definition declarator: (function_declarator declarator: (_) @name)) @function
    (function_definition declarator: (pointer_declarator (function_declarator declarator: (_) @name))) @function
    (translation_unit (declaration declarator: (function_declarator declarator: (identifier) @name)) @function)
    (struct_specifier name: (type_identifier) @name body: (_)) @struct
    (union_specifier name: (type_identifier) @name body: (_)) @union
    (enum_specifier name: (type_identifier) @name body: (_)) @enum
    (type_definition declarator: (type_identifier) @name) @type
    (preproc_def name: (identifier) @name) @macro
    (preproc_function_def name: (identifier) @name) @macro";

const CPP: &str = "
    (namespace_definition name: (_) @name) @namespace
    (class_specifier name: (_) @name body: (_)) @class
    (struct_specifier name: (_) @name body: (_)) @struct
    (union_specifier name: (_) @name body: (_)) @union
    (enum_specifier name: (_) @name body: (_)) @enum
    (alias_declaration name: (type_identifier) @name) @type
    (concept_definition name: (identifier) @name) @concept
    (type_definition declarator: (type_identifier) @name) @type
    (function_definition declarator: (function_declarator declarator: (_) @name)) @function
    (function_definition declarator: (pointer_declarator (function_declarator declarator: (_) @name))) @function
    (function_definition declarator: (reference_declarator (function_declarator declarator: (_) @name))) @function
    (translation_unit (declaration declarator: (function_declarator declarator: (_) @name)) @function)
    (field_declaration declarator: (function_declarator declarator: (_) @name)) @function
    (preproc_def name: (identifier) @name) @macro
    (preproc_function_def name: (identifier) @name) @macro";

const JAVASCRIPT: &str = "
    (function_declaration name: (identifier) @name) @function
    (generator_function_declaration name: (identifier) @name) @function
    (class_declaration name: (identifier) @name) @class
    (method_definition name: (_) @name) @method
    (variable_declarator name: (identifier) @name value: [(arrow_function) (function_expression)]) @function
    (variable_declarator name: (identifier) @name value: (class)) @class
    (expression_statement (assignment_expression
        left: (member_expression) @name right: [(arrow_function) (function_expression)]) @function)
    (field_definition property: (_) @name value: (arrow_function)) @method
    (program (lexical_declaration (variable_declarator name: (identifier) @name) @constant))
    (program (export_statement (lexical_declaration (variable_declarator name: (identifier) @name) @constant)))";

const TYPESCRIPT: &str = "
    (function_declaration name: (identifier) @name) @function
    (generator_function_declaration name: (identifier) @name) @function
    (function_signature name: (identifier) @name) @function
    (class_declaration name: (type_identifier) @name) @class
    (abstract_class_declaration name: (type_identifier) @name) @class
    (interface_declaration name: (type_identifier) @name) @interface
    (type_alias_declaration name: (type_identifier) @name) @type
    (enum_declaration name: (identifier) @name) @enum
    (internal_module name: (_) @name) @namespace
    (module name: (_) @name) @module
    (method_definition name: (_) @name) @method
    (method_signature name: (_) @name) @method
    (abstract_method_signature name: (_) @name) @method
    (variable_declarator name: (identifier) @name value: [(arrow_function) (function_expression)]) @function
    (variable_declarator name: (identifier) @name value: (class)) @class
    (expression_statement (assignment_expression
        left: (member_expression) @name right: [(arrow_function) (function_expression)]) @function)
    (public_field_definition name: (_) @name value: (arrow_function)) @method
    (program (lexical_declaration (variable_declarator name: (identifier) @name) @constant))
    (program (export_statement (lexical_declaration (variable_declarator name: (identifier) @name) @constant)))";

/// Kinds that a function inside makes a method.
const OWNERS: &[&str] = &[
    "class",
    "struct",
    "record",
    "interface",
    "trait",
    "impl",
    "object",
    "enum",
    "protocol",
    "extension",
    "actor",
    "mixin",
];

/// Options of an outline.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "SymbolsOptions")]
pub struct Options {
    /// The file or folder, relative to the project or absolute.
    #[serde(default = "default_path")]
    pub path: String,
    /// Only symbols whose name contains this, upper and lower case alike.
    #[serde(default)]
    pub name: Option<String>,
    /// Only files that match one of these globs, as in a .gitignore; `!` leaves files out.
    #[serde(default)]
    pub globs: Vec<String>,
    /// Hidden files and folders too.
    #[serde(default)]
    pub hidden: bool,
    /// Files that ignore files hide too.
    #[serde(default)]
    pub no_ignore: bool,
    /// How many symbols to return at most, 1 to 1,000.
    #[serde(default = "default_results")]
    #[schemars(range(min = 1, max = 1_000))]
    pub max_results: u32,
    /// Go on after this place: `next` of an earlier answer to the same options.
    #[serde(default)]
    pub after: Option<Cursor>,
}

/// A definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Symbol {
    /// Path relative to the project, with `/`.
    pub path: String,
    /// First line, from 1.
    pub line: u64,
    /// Last line, from 1.
    pub end_line: u64,
    /// Column of the first character, from 1, in bytes.
    pub column: u64,
    /// What it is: `function`, `method`, `class`, `struct`, `enum`, `interface`, …
    pub kind: String,
    /// Its name; of a method in Go with its type, of an `impl` in Rust with its trait.
    pub name: String,
    /// How many symbols of the file it is inside of.
    pub depth: u32,
}

/// The answer of an outline, sorted by path, then by place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SymbolsAnswer")]
pub struct Answer {
    /// The symbols.
    pub symbols: Vec<Symbol>,
    /// How complete this is.
    #[serde(flatten)]
    pub coverage: Coverage,
}

impl ToText for Answer {
    /// `path:line: kind name`, indented by two spaces for each symbol it is inside of.
    fn to_text(&self) -> String {
        let mut text = String::new();
        for Symbol { path, line, kind, name, depth, .. } in &self.symbols {
            // Writing to a `String` does not fail.
            let _infallible =
                writeln!(text, "{path}:{line}: {:indent$}{kind} {name}", "", indent = *depth as usize * 2);
        }
        self.coverage.write_text(&count_of(self.symbols.len() as u64, "symbol", "symbols"), &mut text);
        text
    }
}

/// The tool.
pub(crate) struct Symbols {
    /// In lower case.
    name: Option<String>,
    after: Option<Cursor>,
    found: Collector<String, Symbol>,
}

impl Tool for Symbols {
    type Options = Options;
    type Answer = Answer;
    type Work = Walk<Symbols>;

    fn prepare(root: &Root, options: Options) -> Result<Walk<Symbols>, SearchError> {
        check_range("maxResults", options.max_results, 1, RESULTS_MAX)?;
        check_length("name", options.name.as_ref().map_or(0, String::len), PATTERN_BYTES_MAX)?;
        let base = root.find(&options.path)?;
        if !base.is_folder && queried(&base.path).is_none() {
            return Err(SearchError::NoOutline { path: base.shown() });
        }
        let filter = Filter::compile(&base.path, &options.globs, &[], options.hidden, options.no_ignore)?;
        let visitor = Symbols {
            name: options.name.map(|name| name.to_lowercase()),
            after: options.after,
            found: Collector::new(options.max_results as usize, ANSWER_BYTES_MAX),
        };
        Ok(Walk::new(base, filter, visitor))
    }
}

impl Visit for Symbols {
    fn wants_folder(&self, relative: &str) -> bool {
        !self.after.as_ref().is_some_and(|after| after.is_past_folder(relative))
            && self.found.is_open_to(|last| relative > last.as_str())
    }

    fn wants_file(&self, relative: &str) -> bool {
        queried(relative.as_ref()).is_some()
            && self.after.as_ref().is_none_or(|after| relative >= after.path.as_str())
            && self.found.is_open_to(|last| relative > last.as_str())
    }

    fn is_heavy(&self) -> bool {
        self.name.is_none()
    }

    fn visit(&self, file: &FoundFile<'_>, counts: &Counts, scope: &Scope<'_>) {
        let Some(language) = queried(&file.path()) else { return };
        let Some(source) = read_source(file, counts, |_| true) else { return };
        // What is not in the text is not in a name either, and need not be parsed for.
        if self.name.as_ref().is_some_and(|name| !source.to_lowercase().contains(name.as_str())) {
            Counts::add(&counts.searched);
            return;
        }
        let Some(symbols) = outline(language, &source, &|| scope.is_stopped()) else {
            if !scope.is_stopped() {
                Counts::add(&counts.too_deep);
            }
            return;
        };
        Counts::add(&counts.searched);
        let is_wanted = |symbol: &Symbol| {
            self.name.as_ref().is_none_or(|name| symbol.name.to_lowercase().contains(name.as_str()))
                && !self
                    .after
                    .as_ref()
                    .is_some_and(|after| after.covers(file.relative, symbol.line, symbol.column))
        };
        let symbols: Vec<Symbol> = symbols
            .into_iter()
            .filter(is_wanted)
            .map(|symbol| Symbol { path: file.relative.to_owned(), ..symbol })
            .collect();
        let size_bytes = symbols.iter().map(symbol_bytes).sum();
        self.found.offer(file.relative.to_owned(), symbols, size_bytes);
    }
}

impl Search for Symbols {
    type Answer = Answer;

    fn answer(&self, counts: &Counts, timed_out: bool) -> Result<Answer, SearchError> {
        let found = self.found.finish(
            |_, items| items,
            symbol_bytes,
            |a, b| (&a.path, a.line, a.column) == (&b.path, b.line, b.column),
        );
        let mut limits = Vec::new();
        if found.over_count {
            limits.push(Limit::MaxResults);
        }
        if found.over_size {
            limits.push(Limit::AnswerBytes);
        }
        let next = found.items.last().map(|last| Cursor {
            path: last.path.clone(),
            line: last.line,
            column: last.column,
        });
        Ok(Answer { coverage: Coverage::new(counts, limits, timed_out, next), symbols: found.items })
    }
}

/// Returns the names of the languages that outlines can be made of, for a message.
pub(crate) fn language_names() -> String {
    let names: Vec<String> = QUERIES.iter().map(|(language, _)| language.to_string()).collect();
    names.join(", ")
}

/// Returns the language of a file that an outline can be made of.
fn queried(path: &std::path::Path) -> Option<SupportLang> {
    QUERIES.iter().map(|(language, _)| *language).find(|language| is_of(*language, path))
}

/// The query of a language, and what its captures mean.
struct Definitions {
    query: Query,
    name: Option<u32>,
    of: Option<u32>,
    kind: Option<u32>,
}

/// Compiles the query of a language once; it takes milliseconds.
fn definitions(language: SupportLang) -> Option<&'static Definitions> {
    static COMPILED: [OnceLock<Option<Definitions>>; QUERIES.len()] =
        [const { OnceLock::new() }; QUERIES.len()];
    let index = QUERIES.iter().position(|(known, _)| *known == language)?;
    let compile = || {
        // A test compiles them all; a grammar that has changed takes nothing but its own outlines away.
        let query = Query::new(&language.get_ts_language(), QUERIES[index].1).ok()?;
        let capture = |name| query.capture_index_for_name(name);
        let (name, of, kind) = (capture("name"), capture("of"), capture("kind"));
        Some(Definitions { name, of, kind, query })
    };
    COMPILED[index].get_or_init(compile).as_ref()
}

/// A definition as the query found it.
struct Found {
    pattern: usize,
    kind: String,
    name: String,
    range: Range<usize>,
    line: u64,
    end_line: u64,
    column: u64,
}

/// Returns what is defined in a source, in order of place, without its path. `None` when the source is nested too
/// deeply, or when it is stopped.
fn outline(language: SupportLang, source: &str, is_stopped: &dyn Fn() -> bool) -> Option<Vec<Symbol>> {
    let definitions = definitions(language)?;
    let tree = parse(language, source, is_stopped)?;
    let text = |node: tree_sitter::Node<'_>| source.get(node.byte_range()).unwrap_or_default();
    let mut cursor = QueryCursor::new();
    let mut matches = cursor.matches(&definitions.query, tree.root().get_inner_node(), source.as_bytes());
    // By node, since several patterns may match one; the first in the query tells most.
    let mut found: BTreeMap<(usize, std::cmp::Reverse<usize>, usize), Found> = BTreeMap::new();
    while let Some(matched) = matches.next() {
        if is_stopped() {
            return None;
        }
        let capture = |wanted: Option<u32>| {
            matched
                .captures()
                .iter()
                .find(|capture| Some(capture.index) == wanted)
                .map(|capture| capture.node)
        };
        let is_special =
            |index: u32| [definitions.name, definitions.of, definitions.kind].contains(&Some(index));
        let Some(node) = matched.captures().iter().find(|capture| !is_special(capture.index)) else {
            continue;
        };
        let Some(name) = capture(definitions.name) else { continue };
        let kind = match capture(definitions.kind) {
            Some(word) => text(word),
            None => definitions.query.capture_names()[node.index as usize],
        };
        let name = match capture(definitions.of) {
            Some(of) if kind == "impl" => format!("{} for {}", text(name), text(of)),
            Some(of) => format!("{}.{}", text(of).trim_start_matches('*'), text(name)),
            None => text(name).to_owned(),
        };
        let node = node.node;
        let range = node.byte_range();
        let entry = Found {
            pattern: matched.pattern_index,
            kind: kind.to_owned(),
            // Of a name over several lines, as of a long type in an `impl`, the words.
            name: show(name.split_whitespace().collect::<Vec<_>>().join(" ").as_bytes(), 0).text,
            line: node.start_position().row as u64 + 1,
            column: node.start_position().column as u64 + 1,
            end_line: end_line(node),
            range: range.clone(),
        };
        let key = (range.start, std::cmp::Reverse(range.end), node.id());
        let is_new = found.get(&key).is_none_or(|known| entry.pattern < known.pattern);
        if is_new {
            found.insert(key, entry);
        }
    }
    let mut above: Vec<(usize, String)> = Vec::new();
    let mut symbols = Vec::with_capacity(found.len());
    for Found { kind, name, range, line, end_line, column, .. } in found.into_values() {
        while above.last().is_some_and(|(end, _)| *end <= range.start) {
            above.pop();
        }
        let is_owned = above.last().is_some_and(|(_, owner)| OWNERS.contains(&owner.as_str()));
        let kind = if kind == "function" && is_owned { "method".to_owned() } else { kind };
        let depth = u32::try_from(above.len()).unwrap_or(u32::MAX);
        above.push((range.end, kind.clone()));
        symbols.push(Symbol { path: String::new(), line, end_line, column, kind, name, depth });
    }
    Some(symbols)
}

/// Returns the last line of a node, from 1. One that ends at the start of a line ends before it.
fn end_line(node: tree_sitter::Node<'_>) -> u64 {
    let end = node.end_position();
    let is_before = end.column == 0 && end.row > node.start_position().row;
    end.row as u64 + u64::from(!is_before)
}

/// Returns what a symbol adds to the answer, roughly.
fn symbol_bytes(symbol: &Symbol) -> usize {
    symbol.path.len() + symbol.kind.len() + symbol.name.len() + 96
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks if a grammar no longer has the nodes that its query names.
    #[test]
    fn every_query_compiles() {
        for (language, query) in QUERIES {
            if let Err(error) = Query::new(&language.get_ts_language(), query) {
                panic!("{language:?}: {error}");
            }
        }
    }

    /// Breaks if a definition is missing in an outline, stands in the wrong place, or is called something else.
    #[test]
    fn outlines_of_every_language() {
        let check = |language: SupportLang, source: &str, expected: &str| {
            let symbols = outline(language, source, &|| false).expect("it is not nested deeply");
            let lines: Vec<String> = symbols
                .iter()
                .map(|symbol| {
                    format!(
                        "{}{} {} {}",
                        "  ".repeat(symbol.depth as usize),
                        symbol.line,
                        symbol.kind,
                        symbol.name
                    )
                })
                .collect();
            assert_eq!(lines.join("\n"), expected, "{language:?}");
        };
        check(
            SupportLang::Rust,
            "mod a {\n  pub struct S;\n  impl S {\n    fn new() -> S { S }\n  }\n}\nimpl From<u8> for a::S {\n  fn from(_: u8) -> Self { a::S }\n}\ntrait T { fn f(&self); }\nenum E { A }\nconst C: u8 = 1;\nfn main() { fn inner() {} }\nmacro_rules! m { () => {} }",
            "1 module a\n  2 struct S\n  3 impl S\n    4 method new\n7 impl From<u8> for a::S\n  8 method from\n10 trait T\n  10 method f\n11 enum E\n12 constant C\n13 function main\n  13 function inner\n14 macro m",
        );
        let typescript = "export class A extends B {\n  constructor() {}\n  m() {}\n  f = () => 1\n}\ninterface I { g(): void }\ntype T = string\nenum E { X }\nexport const c = 1\nconst h = async () => { const local = 2 }\nexport function k() {}\nnamespace N { function q() {} }\nexports.x = function () {}";
        let outlined = "1 class A\n  2 method constructor\n  3 method m\n  4 method f\n6 interface I\n  6 method g\n7 type T\n8 enum E\n9 constant c\n10 function h\n11 function k\n12 namespace N\n  12 function q\n13 function exports.x";
        check(SupportLang::TypeScript, typescript, outlined);
        check(SupportLang::Tsx, typescript, outlined);
        check(
            SupportLang::JavaScript,
            "class A {\n  m() {}\n  #p = () => 1\n}\nconst f = () => 1\nvar g = function () {}\nfunction* h() {}\nmodule.exports.k = () => 2\nconst X = class {}\nexport const limit = 5",
            "1 class A\n  2 method m\n  3 method #p\n5 function f\n6 function g\n7 function h\n8 function module.exports.k\n9 class X\n10 constant limit",
        );
        check(
            SupportLang::Python,
            "X = 1\nclass A:\n    def m(self):\n        y = 2\n\n@d\nasync def f():\n    pass\n",
            "1 variable X\n2 class A\n  3 method m\n7 function f",
        );
        check(
            SupportLang::Go,
            "package p\nconst C = 1\nvar (\n\tv = 2\n)\ntype S struct{}\ntype I interface{ M() }\ntype F func()\nfunc (s *S) M() {}\nfunc f() {}\n",
            "2 constant C\n4 variable v\n6 struct S\n7 interface I\n8 type F\n9 method S.M\n10 function f",
        );
        check(
            SupportLang::Java,
            "class A {\n  A() {}\n  void m() {}\n  enum E { X }\n  record R(int a) {}\n}\ninterface I { void n(); }\n@interface N {}",
            "1 class A\n  2 constructor A\n  3 method m\n  4 enum E\n  5 record R\n7 interface I\n  7 method n\n8 annotation N",
        );
        check(
            SupportLang::C,
            "#define M 1\n#define F(x) x\nstruct s { int a; };\nenum e { A };\ntypedef int t;\nint f(void) { return 0; }\nchar *g(void) { return 0; }\nint proto(int);\n",
            "1 macro M\n2 macro F\n3 struct s\n4 enum e\n5 type t\n6 function f\n7 function g\n8 function proto",
        );
        check(
            SupportLang::Cpp,
            "namespace n {\nclass A {\n public:\n  A();\n  ~A();\n  int m() const { return 1; }\n};\n}\nint n::A::k() { return 2; }\ntemplate <class T> T id(T t) { return t; }\nusing U = int;\n",
            "1 namespace n\n  2 class A\n    6 method m\n9 function n::A::k\n10 function id\n11 type U",
        );
        check(
            SupportLang::CSharp,
            "namespace N {\n  public class A {\n    public A() {}\n    int P { get; set; }\n    void M() {}\n  }\n  struct S {}\n  enum E { X }\n  interface I {}\n  record R(int a);\n}",
            "1 namespace N\n  2 class A\n    3 constructor A\n    4 property P\n    5 method M\n  7 struct S\n  8 enum E\n  9 interface I\n  10 record R",
        );
        check(
            SupportLang::Ruby,
            "module M\n  class A\n    X = 1\n    def m; end\n    def self.s; end\n  end\nend\n",
            "1 module M\n  2 class A\n    3 constant X\n    4 method m\n    5 method s",
        );
        check(
            SupportLang::Php,
            "<?php\nnamespace N;\nclass A {\n  const C = 1;\n  function m() {}\n}\ninterface I {}\ntrait T {}\nenum E {}\nfunction f() {}\n",
            "2 namespace N\n3 class A\n  4 constant C\n  5 method m\n7 interface I\n8 trait T\n9 enum E\n10 function f",
        );
        check(
            SupportLang::Kotlin,
            "interface I\nclass A {\n  val p = 1\n  fun m() { val local = 2 }\n}\nobject O\nenum class E { X }\nfun f() {}\ntypealias T = Int\n",
            "1 interface I\n2 class A\n  3 property p\n  4 method m\n6 object O\n7 enum E\n8 function f\n9 type T",
        );
        check(
            SupportLang::Swift,
            "struct S {\n  let p = 1\n  init() {}\n  func m() {}\n}\nclass C {}\nenum E { case a }\nprotocol P { func q() }\nextension S { func x() {} }\nfunc f() {}\n",
            "1 struct S\n  2 property p\n  3 constructor init\n  4 method m\n6 class C\n7 enum E\n8 protocol P\n  8 method q\n9 extension S\n  9 method x\n10 function f",
        );
        check(
            SupportLang::Scala,
            "trait T { def f: Int }\nclass A {\n  val v = 1\n  def m(): Int = 1\n}\nobject O\n",
            "1 trait T\n  1 method f\n2 class A\n  3 value v\n  4 method m\n6 object O",
        );
        check(SupportLang::Bash, "f() { :; }\nfunction g { :; }\n", "1 function f\n2 function g");
        check(
            SupportLang::Lua,
            "local function f() end\nfunction M.g() end\nfunction M:h() end\nk = function() end\n",
            "1 function f\n2 function M.g\n3 function M:h\n4 function k",
        );
        check(
            SupportLang::Dart,
            "class A {\n  void m() {}\n}\nenum E { x }\nvoid f() {}\n",
            "1 class A\n  2 method m\n4 enum E\n5 function f",
        );
        check(
            SupportLang::Elixir,
            "defmodule A do\n  def f(x), do: x\n  defp g, do: 1\nend\n",
            "1 defmodule A\n  2 def f\n  3 defp g",
        );
        check(
            SupportLang::Haskell,
            "module M where\ndata D = A | B\nclass C a where\n  m :: a -> a\nf :: Int -> Int\nf x = x\n",
            "2 data D\n3 class C\n  4 method m\n5 function f",
        );
        check(
            SupportLang::Solidity,
            "contract A {\n  struct S { uint a; }\n  event E();\n  function f() public {}\n}\n",
            "1 contract A\n  2 struct S\n  3 event E\n  4 function f",
        );
        check(
            SupportLang::Zig,
            "const S = struct {\n  fn m() void {}\n};\nfn f() void {}\n",
            "1 struct S\n  2 method m\n4 function f",
        );
        check(
            SupportLang::Markdown,
            "# A\n\ntext\n\n## B\n\nmore\n\n# C\n",
            "1 heading A\n  5 heading B\n9 heading C",
        );
    }
}
