//! Durations as Go and Kubernetes write them (`5s`, `1m30s`, `500ms`) and byte sizes (`7MiB`).

use std::time::Duration;

/// Nanoseconds of a unit.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)];

/// The longest duration taken: a day, far beyond any sensible limit.
const LONGEST: f64 = 8.64e13;

/// Reads a duration in Go's syntax (`time.ParseDuration`), without a sign.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration; write one such as `10s`, `500ms` or `1m30s`");
    let mut rest = text;
    let mut total = 0.0;
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..end]).ok_or_else(wrong)?;
        total += number * unit;
        rest = &rest[end..];
    }
    if text.is_empty() || total > LONGEST {
        return Err(wrong());
    }
    // In range by the check above, and whole nanoseconds are fine enough.
    Ok(Duration::from_nanos(total as u64))
}

/// Reads a duration that must not be zero.
pub fn positive(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("a limit of zero would refuse everything; write at least `1ms`".to_owned()),
        some => Ok(some),
    }
}

/// Reads a number of bytes: plain, or with `KiB`, `MiB`, `GiB`.
pub fn bytes(text: &str) -> Result<usize, String> {
    let wrong = || format!("`{text}` is no size; write one such as `7MiB`, `512KiB` or a number of bytes");
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: usize = text[..split].parse().map_err(|_| wrong())?;
    let unit: usize = match text[split..].trim() {
        "" => 1,
        "KiB" | "Ki" => 1 << 10,
        "MiB" | "Mi" => 1 << 20,
        "GiB" | "Gi" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, milliseconds) in
            [("5s", 5_000), ("500ms", 500), ("1m30s", 90_000), ("1.5s", 1_500), ("2h", 7_200_000), ("0", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "-5s", "5 s", "5x", "1e400s", "99999h", "..s", "5s5"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(bytes("7MiB"), Ok(7 << 20));
        assert_eq!(bytes("1024"), Ok(1024));
        for text in ["", "7MB", "-1", "99999999999999999999", "18446744073709551615KiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
