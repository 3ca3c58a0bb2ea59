//! Masks secrets in text that goes to a model, and so to whoever runs the model.
//!
//! A known kind of secret is told by its shape, others by a name that says so (`password = "…"`) or by their entropy
//! (`x = "…"`, long and random). One Aho-Corasick pass says which kinds may be there at all; only their expressions run.
//! A mask keeps the kind: `[masked: github token]`.
//!
//! What this is not: a guarantee. It finds what looks like a secret, and misses one that looks like a word.

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex::bytes::{Captures, Regex, RegexBuilder};
use std::borrow::Cow;
use std::sync::LazyLock;

/// A kind of secret.
struct Kind {
    name: &'static str,
    /// Text that every secret of this kind contains, whatever its case; one of these.
    anchors: &'static [&'static str],
    /// Finds it. What group 1 matches is masked, or all when there is none.
    expression: &'static str,
    /// Whether what was found is one after all.
    is_secret: fn(&str) -> bool,
}

const fn kind(name: &'static str, anchors: &'static [&'static str], expression: &'static str) -> Kind {
    Kind { name, anchors, expression, is_secret: |_| true }
}

/// The kinds, the more telling first: of two that overlap the first one stands.
const KINDS: &[Kind] = &[
    kind(
        "private key",
        &["PRIVATE KEY-----"],
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----(?:[^-]|-{1,4}[^-])*-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----",
    ),
    kind("age key", &["AGE-SECRET-KEY-"], r"\bAGE-SECRET-KEY-1[0-9A-Z]{50,}"),
    kind("aws key", &["AKIA", "ASIA", "ABIA", "ACCA"], r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    kind(
        "github token",
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
        r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})",
    ),
    kind(
        "gitlab token",
        &["glpat-", "glptt-", "gldt-", "glrt-", "glcbt-", "glsoat-", "glft-", "glagent-"],
        r"\bgl(?:pat|ptt|dt|rt|cbt|soat|ft|agent)-[\w.-]{20,300}",
    ),
    kind("slack token", &["xox", "xapp-"], r"\b(?:xox[abeoprs]-[\w-]{10,}|xapp-\d-[\w-]{10,})"),
    kind(
        "slack webhook",
        &["hooks.slack.com/"],
        r"hooks\.slack\.com/(?:services|workflows|triggers)/([\w/-]{20,})",
    ),
    kind("stripe key", &["sk_live_", "sk_test_", "rk_live_", "rk_test_"], r"\b[sr]k_(?:live|test)_\w{16,}"),
    kind("stripe webhook secret", &["whsec_"], r"\bwhsec_[A-Za-z0-9+/=]{24,}"),
    kind("anthropic key", &["sk-ant-"], r"\bsk-ant-[\w-]{20,}"),
    kind(
        "openai key",
        &["sk-"],
        r"\bsk-(?:(?:proj|svcacct|admin|None)-[\w-]{20,}|[A-Za-z0-9]{32,}|or-v1-[0-9a-f]{32,})",
    ),
    kind("google key", &["AIza"], r"\bAIza[\w-]{35}"),
    kind("google token", &["ya29.", "GOCSPX-"], r"\b(?:ya29\.[\w-]{20,}|GOCSPX-[\w-]{28})"),
    kind("npm token", &["npm_"], r"\bnpm_[A-Za-z0-9]{36}\b"),
    kind("pypi token", &["pypi-AgE"], r"\bpypi-AgE[\w-]{40,}"),
    kind("json web token", &["eyJ"], r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"),
    kind(
        "azure key",
        &["AccountKey=", "SharedAccessKey=", "sig="],
        r"(?:\b(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{40,}={0,2}))|[?&]sig=[A-Za-z0-9%+/]{40,}",
    ),
    kind("azure client secret", &["8Q~"], r"\b[\w~.-]{3}8Q~[\w~.-]{31,34}"),
    kind("twilio key", &["SK"], r"\bSK[0-9a-f]{32}\b"),
    kind("sendgrid key", &["SG."], r"\bSG\.[\w-]{16,32}\.[\w-]{16,64}"),
    kind("mailgun key", &["key-"], r"\bkey-[0-9a-f]{32}\b"),
    kind("discord token", &["."], r"\b[MNO][A-Za-z\d_-]{23,27}\.[A-Za-z\d_-]{6}\.[A-Za-z\d_-]{27,40}\b"),
    kind("discord webhook", &["/api/webhooks/"], r"discord(?:app)?\.com/api/webhooks/(\d{10,25}/[\w-]{30,})"),
    kind("telegram token", &[":AA"], r"\b\d{8,10}:AA[\w-]{32,34}\b"),
    kind("heroku key", &["HRKU-"], r"\bHRKU-[\w-]{36,}"),
    kind("digitalocean token", &["dop_v1_", "doo_v1_", "dor_v1_"], r"\bdo[opr]_v1_[0-9a-f]{64}\b"),
    kind("hugging face token", &["hf_"], r"\bhf_[A-Za-z0-9]{30,}\b"),
    kind(
        "shopify token",
        &["shpat_", "shpca_", "shppa_", "shpss_"],
        r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b",
    ),
    kind("databricks token", &["dapi"], r"\bdapi[0-9a-f]{32}\b"),
    kind("docker token", &["dckr_pat_"], r"\bdckr_pat_[\w-]{20,}"),
    kind("vault token", &["hvs.", "hvb."], r"\bhv[sb]\.[\w-]{24,}"),
    kind("linear key", &["lin_api_"], r"\blin_api_[A-Za-z0-9]{32,}"),
    Kind {
        name: "password",
        anchors: &["://"],
        expression: r#"://[^\s/:@"'`<>]{0,256}:([^\s/@"'`<>]{1,256})@"#,
        is_secret: |text| !is_placeholder(text),
    },
    Kind {
        name: "token",
        anchors: &["bearer", "basic"],
        expression: r"(?i)\b(?:bearer|basic)[ \t]+([A-Za-z0-9._~+/-]{16,}={0,2})",
        is_secret: |text| is_random(text, 3.0) && text.bytes().any(|byte| byte.is_ascii_digit()),
    },
    Kind {
        name: "secret",
        anchors: &[
            "secret",
            "token",
            "passw",
            "pwd",
            "apikey",
            "api_key",
            "api-key",
            "access_key",
            "accesskey",
            "access-key",
            "private_key",
            "privatekey",
            "credential",
            "auth",
            "heroku",
            "encryption_key",
            "signing_key",
            "client_key",
        ],
        expression: concat!(
            r"(?i)\b[\w.-]{0,60}(?:secret|token|passw(?:or)?d|passwd|pwd|api[_-]?key|access[_-]?key|private[_-]?key",
            r"|(?:encryption|signing|client)[_-]?key|credentials?|auth|heroku)[\w.-]{0,40}",
            r#"["'`]?[ \t]*(?::=|=>|==?|:)[ \t]*(?:"([^"\s]{6,512})"|'([^'\s]{6,512})'|`([^`\s]{6,512})`|([^\s"'`,;(){}<>\[\]]{8,512})(?:[\s,;"'`)}\]]|$))"#,
        ),
        is_secret: |text| !is_placeholder(text) && is_random(text, 2.5) && is_mixed(text),
    },
    Kind {
        name: "high-entropy value",
        anchors: &["=", ":"],
        expression: r#"[=:][ \t]*["'`]?([A-Za-z0-9+/_-]{24,256}={0,2})(?:["'`\s,;)}\]&]|$)"#,
        is_secret: |text| is_scrambled(text),
    },
];

/// The expressions of [`KINDS`], and what finds their anchors.
struct Masks {
    anchors: AhoCorasick,
    /// Of each anchor, which kind it stands for.
    kinds: Vec<usize>,
    expressions: Vec<Regex>,
}

static MASKS: LazyLock<Masks> = LazyLock::new(|| {
    let anchors =
        KINDS.iter().enumerate().flat_map(|(index, kind)| kind.anchors.iter().map(move |a| (index, a)));
    let (kinds, anchors): (Vec<usize>, Vec<&str>) = anchors.unzip();
    let built =
        AhoCorasick::builder().ascii_case_insensitive(true).kind(Some(AhoCorasickKind::DFA)).build(anchors);
    // What is told by its shape is ASCII; over bytes the automata stay small.
    let compile = |kind: &Kind| RegexBuilder::new(kind.expression).unicode(false).build();
    let expressions = KINDS.iter().map(compile).collect::<Result<_, _>>();
    Masks {
        anchors: built.expect("a small table of constants"),
        kinds,
        expressions: expressions.expect("constants, which a test compiles"),
    }
});

/// Returns `text` with every secret replaced by a mask that says of what kind it was.
pub fn redact(text: &str) -> Cow<'_, str> {
    let masks = &*MASKS;
    let mut present = [false; KINDS.len()];
    let mut left = KINDS.len();
    for found in masks.anchors.find_overlapping_iter(text) {
        let seen = &mut present[masks.kinds[found.pattern().as_usize()]];
        if !*seen {
            *seen = true;
            left -= 1;
            if left == 0 {
                break;
            }
        }
    }
    let mut spans: Vec<(usize, usize, usize)> = Vec::new();
    for (index, kind) in KINDS.iter().enumerate().filter(|(index, _)| present[*index]) {
        for captures in masks.expressions[index].captures_iter(text.as_bytes()) {
            let (start, end) = secret_of(&captures);
            let (start, end) = (text.floor_char_boundary(start), text.ceil_char_boundary(end));
            if (kind.is_secret)(&text[start..end]) {
                spans.push((start, end, index));
            }
        }
    }
    if spans.is_empty() {
        return Cow::Borrowed(text);
    }
    // Of those that overlap, the kind that stands first in the table.
    spans.sort_unstable_by_key(|(start, end, index)| (*index, *start, *end));
    let mut kept: Vec<(usize, usize, usize)> = Vec::new();
    for span in spans {
        let at = kept.partition_point(|kept| kept.0 < span.0);
        let is_free = kept.get(at).is_none_or(|after| span.1 <= after.0)
            && at.checked_sub(1).and_then(|before| kept.get(before)).is_none_or(|before| before.1 <= span.0);
        if is_free {
            kept.insert(at, span);
        }
    }
    let mut masked = String::with_capacity(text.len());
    let mut from = 0;
    for (start, end, index) in kept {
        masked.push_str(&text[from..start]);
        masked.push_str("[masked: ");
        masked.push_str(KINDS[index].name);
        masked.push(']');
        from = end;
    }
    masked.push_str(&text[from..]);
    Cow::Owned(masked)
}

/// Returns the place of what is to be masked: the group that matched, or all.
fn secret_of(captures: &Captures<'_>) -> (usize, usize) {
    let group = captures.iter().skip(1).flatten().next();
    let found = group.or_else(|| captures.get(0));
    found.map_or((0, 0), |found| (found.start(), found.end()))
}

/// Returns whether the value stands for one that is filled in elsewhere, or is code that gets it.
fn is_placeholder(value: &str) -> bool {
    const WORDS: &[&str] = &[
        "example",
        "changeme",
        "change_me",
        "placeholder",
        "your_",
        "your-",
        "yourtoken",
        "redacted",
        "masked",
        "process.env",
        "os.environ",
        "getenv",
        "import.meta",
        "undefined",
        "dummy",
        "xxxx",
        "****",
        "....",
    ];
    let lower = value.to_ascii_lowercase();
    value.starts_with(['$', '<', '{', '%', '*', '@', '/', '.', '&', '|'])
        || WORDS.iter().any(|word| lower.contains(word))
}

/// Returns whether the value is no word or name: it has letters and something else that names seldom have.
fn is_mixed(value: &str) -> bool {
    let count = |is: fn(&u8) -> bool| value.bytes().filter(is).count();
    let (letters, digits) = (count(u8::is_ascii_alphabetic), count(u8::is_ascii_digit));
    let signs = value.bytes().filter(|byte| b"!#%^*+?~|@".contains(byte)).count();
    // A name may end in digits, as `Service2` does.
    let is_name =
        value.trim_end_matches(|c: char| c.is_ascii_digit()).bytes().all(|byte| !byte.is_ascii_digit());
    letters >= 2 && (signs > 0 || (digits > 0 && !is_name && (!value.contains('.') || digits >= 4)))
}

/// Returns whether the value has at least this entropy, in bits a byte.
fn is_random(value: &str, bits_min: f64) -> bool {
    let mut counts = [0_u32; 256];
    for byte in value.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let length = value.len() as f64;
    let share = |count: &u32| f64::from(*count) / length;
    let bits: f64 =
        counts.iter().filter(|count| **count > 0).map(share).map(|share| -share * share.log2()).sum();
    bits >= bits_min
}

/// Returns whether the value is random by all signs: upper case, lower case and digits all through it, as no name and no
/// path has them. Digests in hexadecimal are not, nor are those that say which they are.
fn is_scrambled(value: &str) -> bool {
    let count = |is: fn(&u8) -> bool| value.bytes().filter(is).count();
    let least = value.len() / 12 + 1;
    let lower = value.to_ascii_lowercase();
    count(u8::is_ascii_digit) >= least
        && count(u8::is_ascii_uppercase) >= least
        && count(u8::is_ascii_lowercase) >= least
        && is_random(value, if value.len() < 32 { 4.0 } else { 4.3 })
        && !lower.starts_with("sha")
        && !lower.contains("abcdefghij")
        && changes(value) * 3 >= value.len()
}

/// Counts how often the class of character changes from one to the next: often in what is random, seldom in words.
fn changes(value: &str) -> usize {
    let class = |byte: u8| match byte {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    value.as_bytes().windows(2).filter(|pair| class(pair[0]) != class(pair[1])).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// Looks random, and is the same each time. Put together here so that no scanner takes this file for a leak.
    fn noise(alphabet: &str, length: usize) -> String {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let alphabet: Vec<char> = alphabet.chars().collect();
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            alphabet[(state >> 33) as usize % alphabet.len()]
        };
        (0..length).map(next).collect()
    }
    const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    const HEX: &str = "0123456789abcdef";

    /// Breaks if a known kind of secret reaches a model, or its mask does not say what it was.
    #[test]
    fn known_kinds_are_masked() {
        let a = |length| noise(ALNUM, length);
        let h = |length| noise(HEX, length);
        let base32 = |length| noise("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", length);
        let secrets = [
            ("aws key", format!("AKIA{}", base32(16))),
            ("github token", format!("ghp_{}", a(36))),
            ("github token", format!("github_pat_{}", a(60))),
            ("gitlab token", format!("glpat-{}", a(20))),
            ("slack token", format!("xoxb-{}-{}", noise("123456789", 12), a(24))),
            ("stripe key", format!("sk_live_{}", a(24))),
            ("stripe webhook secret", format!("whsec_{}", a(32))),
            ("anthropic key", format!("sk-ant-api03-{}", a(90))),
            ("openai key", format!("sk-proj-{}", a(60))),
            ("openai key", format!("sk-{}", a(48))),
            ("google key", format!("AIza{}", a(35))),
            ("google token", format!("GOCSPX-{}", a(28))),
            ("npm token", format!("npm_{}", a(36))),
            ("pypi token", format!("pypi-AgEIcHlwaS5vcmc{}", a(60))),
            ("json web token", format!("eyJ{}.eyJ{}.{}", a(20), a(60), a(43))),
            ("azure client secret", format!("{}8Q~{}", a(3), a(34))),
            ("twilio key", format!("SK{}", h(32))),
            ("sendgrid key", format!("SG.{}.{}", a(22), a(43))),
            ("mailgun key", format!("key-{}", h(32))),
            ("discord token", format!("M{}.{}.{}", a(25), a(6), a(38))),
            ("telegram token", format!("{}:AA{}", noise("123456789", 10), a(33))),
            ("heroku key", format!("HRKU-AA{}", a(60))),
            ("digitalocean token", format!("dop_v1_{}", h(64))),
            ("hugging face token", format!("hf_{}", a(34))),
            ("shopify token", format!("shpat_{}", h(32))),
            ("databricks token", format!("dapi{}", h(32))),
            ("docker token", format!("dckr_pat_{}", a(27))),
            ("vault token", format!("hvs.{}", a(30))),
            ("linear key", format!("lin_api_{}", a(40))),
        ];
        for (kind, secret) in secrets {
            for text in [format!("src/a.ts:3: x({secret})"), format!("K=\"{secret}\"\n"), secret.clone()] {
                let masked = redact(&text);
                assert!(masked.contains(&format!("[masked: {kind}]")), "{kind}: {text} became {masked}");
                assert!(!masked.contains(&secret), "{kind}: {masked}");
            }
        }
        let key = format!(
            "a:1: -----BEGIN RSA PRIVATE {0}-----\na:2: {1}\na:3: -----END RSA PRIVATE {0}-----!",
            "KEY",
            a(64)
        );
        assert_eq!(redact(&key), "a:1: [masked: private key]!");
        let line = format!("key.pem:7: {}", noise(&format!("{ALNUM}+/"), 64));
        assert_eq!(
            redact(&line),
            "key.pem:7: [masked: high-entropy value]",
            "a line out of the middle of a key"
        );
    }

    /// Breaks if a secret that has no shape of its own is shown, where its name or its place says what it is.
    #[test]
    fn names_and_places_give_secrets_away() {
        let check = |text: &str, expected: &str| assert_eq!(redact(text), expected, "{text}");
        check("postgres://app:hunter2@db/x", "postgres://app:[masked: password]@db/x");
        check("DB_PASSWORD=Tr0ub4dor&3", "DB_PASSWORD=[masked: secret]");
        check("password: \"s3cr3t!pw\",", "password: \"[masked: secret]\",");
        check("\"clientSecret\": \"a8f5f167f44f4964\"", "\"clientSecret\": \"[masked: secret]\"");
        check(
            "//registry/:_authToken=8a7b6c5d-1234-4321-aaaa-9f8e7d6c5b4a",
            "//registry/:_authToken=[masked: secret]",
        );
        check(
            &format!("Authorization: Bearer {}", noise(ALNUM, 40)),
            "Authorization: Bearer [masked: token]",
        );
        let value = noise(ALNUM, 40);
        check(&format!("const x = \"{value}\""), "const x = \"[masked: high-entropy value]\"");
    }

    /// Breaks if code that only speaks of secrets, digests, paths or names is masked: a model could not work with it.
    #[test]
    fn ordinary_code_is_left_alone() {
        let digest = noise(HEX, 64);
        for text in [
            "const token = getToken(request)",
            "password: string",
            "if (password === undefined) return",
            "token: process.env.GITHUB_TOKEN,",
            "PASSWORD=${DB_PASSWORD}",
            "api_key = \"YOUR_API_KEY_1\"",
            "label: \"Password\", placeholder: 'your-token-here1'",
            "https://example.com:8080/path@v2",
            "secretName: my-app-secret",
            "tokenizer = AutoTokenizer.from_pretrained(name)",
            "auth: AuthService2",
            "src/very/long/path/With/Upper/Case/And/Digits2/File3.ts:12: export class X {}",
            "const alphabet = \"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789\"",
            &format!("\"integrity\": \"sha512-{}==\"", noise(ALNUM, 86)),
            &format!("commit = {digest}"),
            &format!("checksum: \"{digest}\""),
            "const createUserAccountServiceFactory2Implementation = makeUserAccountServiceFactory2Implementation",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    /// Breaks if a full answer takes so long that it is felt, or input made to be slow is.
    #[test]
    fn a_full_answer_takes_milliseconds() {
        let code = include_str!("structural.rs");
        let size = crate::ANSWER_BYTES_MAX;
        let texts = [
            code.repeat(size / code.len() + 1),
            "password=".repeat(size / 9),
            "eyJaaaaaaaaaa.eyJaaaaaaaa".repeat(size / 25),
            "-----BEGIN RSA PRIVATE KEY-----\n".repeat(size / 32),
            "a".repeat(size),
            "://a:b".repeat(size / 6),
        ];
        for text in texts {
            let started = Instant::now();
            let masked = redact(&text);
            assert!(!masked.is_empty());
            let took = started.elapsed();
            assert!(took < Duration::from_millis(2_500), "{took:?} for {}…", &text[..30]);
        }
    }
}
