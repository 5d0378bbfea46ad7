//! Kubernetes quantities (`256Mi`, `1G`, `128974848`, `1e9`, `129M`), as far as a comparison needs them.
//!
//! Grammar: apimachinery `pkg/api/resource/quantity.go`.

/// The quantity in base units; `None` for what the API server would refuse.
pub fn bytes(text: &str) -> Option<f64> {
    let end =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    let factor = match suffix {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => f64::from(1 << 10),
        "Mi" => f64::from(1 << 20),
        "Gi" => f64::from(1 << 30),
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        exponent => 10f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn reads_what_the_api_server_reads() {
        assert_eq!(bytes("256Mi"), Some(268_435_456.0));
        assert_eq!(bytes("1G"), Some(1e9));
        assert_eq!(bytes("1e3"), Some(1000.0));
        assert_eq!(bytes("1.5Ki"), Some(1536.0));
        assert_eq!(bytes("128000000000m"), Some(128_000_000.0));
        for bad in ["", "Mi", "1x", "1 Mi", "e3"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
