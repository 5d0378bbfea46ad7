//! The one log line of a decision.
//!
//! It is written by hand: it is on the path of every admission, and tracing's JSON layer costs ten times as much. Its
//! shape is that of the other lines.

use std::io::Write;
use std::time::{Duration, SystemTime};

use super::log::Format;
use super::timestamp::{digits, timestamp};
use crate::answer::{Answer, Verdict};
use crate::decision::Endpoint;
use crate::rule::Rule;
use crate::text::clip;

/// Longest texts taken from a request: Kubernetes allows names of 253 bytes and uids of 36; what is longer does not
/// come from an API server.
const LONGEST: usize = 253;

/// The path of an endpoint, for logs and metrics.
pub fn path(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Mutate => "mutate",
        Endpoint::Validate => "validate",
    }
}

/// Writes the line of one decision, line feed included.
pub fn write(
    out: &mut Vec<u8>,
    format: Format,
    now: SystemTime,
    endpoint: Endpoint,
    answer: &Answer,
    elapsed: Duration,
) {
    let record = &answer.record;
    let mut line =
        Fields::start(out, format, now, if record.verdict == Verdict::Error { "WARN" } else { "INFO" });
    line.text("path", path(endpoint));
    line.text("uid", &record.uid);
    line.text("operation", &record.operation);
    line.text("kind", &record.kind);
    line.text("namespace", &record.namespace);
    line.text("name", &record.name);
    line.raw("dryRun", if record.dry_run { "true" } else { "false" });
    line.text("verdict", record.verdict.as_str());
    line.list("rules", record.rules.iter().map(|(rule, _)| rule.id));
    line.list("edits", record.edits.iter().copied());
    if !record.exempted.is_empty() {
        line.list("exempted", record.exempted.iter().map(|rule: &&Rule| rule.id));
    }
    if let Some(reason) = &record.reason {
        line.text("reason", reason);
    }
    if let Some(problem) = &record.problem {
        line.text("problem", problem);
    }
    // Seconds, as in the metrics.
    line.seconds("elapsed", elapsed);
    line.end();
}

struct Fields<'a> {
    out: &'a mut Vec<u8>,
    format: Format,
}

impl<'a> Fields<'a> {
    fn start(out: &'a mut Vec<u8>, format: Format, now: SystemTime, level: &str) -> Self {
        match format {
            Format::Json => {
                out.extend_from_slice(b"{\"timestamp\":\"");
                timestamp(out, now);
                out.extend_from_slice(b"\",\"level\":\"");
                out.extend_from_slice(level.as_bytes());
                out.extend_from_slice(b"\",\"message\":\"decision\"");
            }
            Format::Text => {
                timestamp(out, now);
                out.extend_from_slice(b"  ");
                out.extend_from_slice(level.as_bytes());
                out.extend_from_slice(b" decision");
            }
        }
        Fields { out, format }
    }

    fn key(&mut self, key: &str) {
        match self.format {
            Format::Json => {
                self.out.extend_from_slice(b",\"");
                self.out.extend_from_slice(key.as_bytes());
                self.out.extend_from_slice(b"\":");
            }
            Format::Text => {
                self.out.push(b' ');
                self.out.extend_from_slice(key.as_bytes());
                self.out.push(b'=');
            }
        }
    }

    fn value(&mut self, text: &str) {
        let plain = text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b':' | b'/' | b'*'));
        match (self.format, plain && text.len() <= LONGEST) {
            (Format::Text, true) => self.out.extend_from_slice(text.as_bytes()),
            (Format::Json, true) => {
                self.out.push(b'"');
                self.out.extend_from_slice(text.as_bytes());
                self.out.push(b'"');
            }
            // Quoting keeps whoever can reach the port from forging lines.
            (_, false) => {
                serde_json::to_writer(&mut *self.out, &clip(text, LONGEST))
                    .expect("a string can be written to memory");
            }
        }
    }

    fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        self.value(text);
    }

    fn raw(&mut self, key: &str, text: &str) {
        self.key(key);
        self.out.extend_from_slice(text.as_bytes());
    }

    fn list<'t>(&mut self, key: &str, items: impl Iterator<Item = &'t str>) {
        self.key(key);
        let (open, close) = if self.format == Format::Json { ("[", "]") } else { ("", "") };
        self.out.extend_from_slice(open.as_bytes());
        for (index, item) in items.enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.value(item);
        }
        self.out.extend_from_slice(close.as_bytes());
    }

    fn seconds(&mut self, key: &str, time: Duration) {
        self.key(key);
        write!(self.out, "{}", time.as_secs()).expect("memory takes every write");
        self.out.push(b'.');
        digits::<6>(self.out, time.subsec_micros().into());
    }

    fn end(self) {
        self.out.extend_from_slice(if self.format == Format::Json { b"}\n" } else { b"\n" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    use crate::answer::Record;

    #[test]
    fn a_name_cannot_forge_a_line() {
        let record = Record { name: "a\n{\"level\":\"ERROR\"}".to_owned(), ..Record::default() };
        let answer = Answer { status: 200, body: Vec::new(), record };
        for format in [Format::Text, Format::Json] {
            let mut out = Vec::new();
            write(&mut out, format, UNIX_EPOCH, Endpoint::Mutate, &answer, Duration::ZERO);
            assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1);
        }
    }

    #[test]
    fn an_exemption_says_why_where_its_author_did() {
        let line = |reason: Option<&str>| {
            let record = Record { reason: reason.map(str::to_owned), ..Record::default() };
            let answer = Answer { status: 200, body: Vec::new(), record };
            let mut out = Vec::new();
            write(&mut out, Format::Json, UNIX_EPOCH, Endpoint::Validate, &answer, Duration::ZERO);
            serde_json::from_slice::<serde_json::Value>(&out).unwrap()
        };
        assert_eq!(line(Some("a demo; gone by May"))["reason"], "a demo; gone by May");
        assert!(line(None).get("reason").is_none());
    }

    #[test]
    fn json_lines_parse() {
        let answer = Answer { status: 200, body: Vec::new(), record: Record::default() };
        let mut out = Vec::new();
        write(&mut out, Format::Json, UNIX_EPOCH, Endpoint::Validate, &answer, Duration::from_micros(1_500));
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(line["message"], "decision");
        assert_eq!(line["path"], "validate");
        assert_eq!(line["elapsed"], 0.0015);
        assert_eq!(line["rules"], serde_json::json!([]));
    }
}
