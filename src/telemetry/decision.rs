//! The one log line of a decision, written by hand: it is on the path of every admission, and tracing's JSON layer
//! costs ten times as much. Its shape is that of the other lines.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::log::Format;
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

/// Writes a time as `2026-11-23T13:32:22.123456Z`.
pub(super) fn timestamp(out: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    digits::<4>(out, year);
    for (before, number) in
        [(b'-', month), (b'-', day), (b'T', second / 3600), (b':', second / 60 % 60), (b':', second % 60)]
    {
        out.push(before);
        digits::<2>(out, number);
    }
    out.push(b'.');
    digits::<6>(out, since.subsec_micros().into());
    out.push(b'Z');
}

/// Writes the last `N` decimal digits of a number. By hand: every admission writes eight of these, and the library's
/// formatting costs ten times as much.
fn digits<const N: usize>(out: &mut Vec<u8>, mut number: u64) {
    let mut text = [b'0'; N];
    for digit in text.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&text);
}

/// Year, month and day of a day counted from 1970-01-01, by 400-year eras that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Record;

    fn stamp(seconds: u64) -> String {
        let mut out = Vec::new();
        timestamp(&mut out, UNIX_EPOCH + Duration::from_secs(seconds));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn stamps_are_civil_time() {
        // Pairs from `date -u -d @N`.
        for (seconds, wanted) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000000Z"),
            (1_795_440_742, "2026-11-23T13:32:22.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(stamp(seconds), wanted);
        }
    }

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
