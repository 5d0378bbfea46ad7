//! The Grafana dashboard as a picture: its own rows, panels, units and legends, with values that are made up.
//!
//! Grafana itself is on no package registry, so this draws the file's grid and not Grafana's pixels.

use std::f64::consts::TAU;
use std::fmt::Write as _;

use serde_json::Value;

use super::svg::escape;
use crate::support::root;

/// Pixels: a column and a row of Grafana's grid, the gap between panels, the margin, the heading.
const COLUMN: f64 = 40.0;
const ROW: f64 = 22.0;
const GAP: f64 = 6.0;
const MARGIN: f64 = 16.0;
const HEAD: f64 = 48.0;

/// Values in one series.
const POINTS: usize = 48;

/// Words of queries whose series are zero where all is well.
const QUIET: &[&str] = &[
    "panic",
    "reload",
    "fail",
    "refused",
    "dropped",
    "errors",
    "repairs",
    "rejection",
    "exempt",
    "renewals",
    "waiting",
    "restarts",
    "error_type",
];

/// A word of the query, a label, and two of its values. The first line that fits counts.
const LABELS: &[(&str, &str, [&str; 2])] = &[
    ("patches_total", "kind", ["inject", "pin"]),
    ("renewals_total", "what", ["authority", "leaf"]),
    ("events_total", "outcome", ["written", "repeated"]),
    ("kube_pod", "reason", ["ImagePullBackOff", "CreateContainerConfigError"]),
    ("", "job_name", ["prefect-guard-audit-29401", "prefect-guard-audit-29402"]),
    ("", "verdict", ["allow", "patch"]),
    ("", "rule", ["PSG302", "PSG103"]),
    ("", "severity", ["warn", "deny"]),
    ("", "kind", ["Deployment", "StatefulSet"]),
    ("", "path", ["mutate", "validate"]),
    ("", "operation", ["CREATE", "UPDATE"]),
    ("", "instance", ["10.0.0.7", "10.0.1.4"]),
    ("", "what", ["certificate", "policy"]),
    ("", "outcome", ["ok", "ok"]),
    ("", "reason", ["busy", "deadline"]),
    ("", "name", ["mutate.prefect-guard.io", "validate.prefect-guard.io"]),
    ("", "code", ["200", "200"]),
    ("", "error_type", ["no_error", "calling_webhook_error"]),
    ("", "namespace", ["data", "reports"]),
    ("", "pod", ["prefect-server-7f9c-x", "prefect-server-7f9c-z"]),
];

const STYLE: &str = "text{font:12px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:#1f2328}\
.small{font-size:10px;fill:#59636e}.title{font-weight:600}.value{font-size:30px;fill:#1a7f37}\
.page{fill:#f6f8fa}.panel{fill:#fff;stroke:#d1d9e0}.grid{stroke:#d1d9e0;stroke-width:.5}\
polyline{fill:none;stroke-width:1.5}.s0{stroke:#1a7f37}.s1{stroke:#0969da}.s2{stroke:#9a6700}.s3{stroke:#cf222e}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.value{fill:#3fb950}.page{fill:#0d1117}\
.panel{fill:#161b22;stroke:#3d444d}.grid{stroke:#3d444d}.s0{stroke:#3fb950}.s1{stroke:#79c0ff}.s2{stroke:#d29922}\
.s3{stroke:#ff7b72}}";

/// A place on the picture, in pixels.
#[derive(Clone, Copy)]
struct Area {
    x: f64,
    y: f64,
    wide: f64,
    high: f64,
}

impl Area {
    /// Where a panel's `gridPos` puts it.
    fn of(panel: &Value) -> Area {
        let number = |key: &str| panel["gridPos"][key].as_f64().expect("a number in `gridPos`");
        Area {
            x: MARGIN + number("x") * COLUMN,
            y: HEAD + number("y") * ROW,
            wide: number("w") * COLUMN - GAP,
            high: number("h") * ROW - GAP,
        }
    }
}

/// The picture of the chart's dashboard.
pub(super) fn draw() -> String {
    let file = root().join("charts/prefect-guard/dashboards/prefect-guard.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let panels: Vec<&Value> = dashboard["panels"].as_array().expect("panels").iter().collect();
    let bottom = panels.iter().map(|panel| Area::of(panel)).map(|area| area.y + area.high);
    let high = bottom.fold(HEAD, f64::max) + MARGIN;
    let wide = 24.0 * COLUMN + 2.0 * MARGIN - GAP;
    let title = dashboard["title"].as_str().expect("a title");
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide:.0}\" height=\"{high:.0}\" \
         viewBox=\"0 0 {wide:.0} {high:.0}\" role=\"img\" aria-label=\"The Grafana dashboard, drawn with example values\">\n\
         <title>The Grafana dashboard, drawn with example values</title>\n<style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"{wide:.0}\" height=\"{high:.0}\" rx=\"6\"/>\n"
    );
    line(&mut svg, MARGIN, 22.0, "title", title);
    line(
        &mut svg,
        MARGIN,
        38.0,
        "small",
        "Drawn from the dashboard's file, not by Grafana; the values are examples.",
    );
    for panel in panels {
        draw_panel(&mut svg, panel);
    }
    svg + "</svg>\n"
}

fn draw_panel(svg: &mut String, panel: &Value) {
    let area = Area::of(panel);
    let title = panel["title"].as_str().expect("a panel has a title");
    if panel["type"] == "row" {
        return line(svg, area.x, area.y + 15.0, "title", &format!("▾ {title}"));
    }
    let Area { x, y, wide, high } = area;
    let _ = writeln!(
        svg,
        "<rect class=\"panel\" x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{high}\" rx=\"3\"/>"
    );
    line(svg, x + 8.0, y + 17.0, "", title);
    let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or("short");
    match panel["type"].as_str() {
        Some("stat") => line(svg, x + 8.0, y + high - 24.0, "value", &stat(panel, unit)),
        Some("timeseries") => draw_series(svg, panel, unit, area),
        // Its place and its title are shown, and what Grafana draws there.
        other => line(svg, x + 8.0, y + 36.0, "small", other.unwrap_or_default()),
    }
}

fn draw_series(svg: &mut String, panel: &Value, unit: &str, area: Area) {
    let (left, right) = (area.x + 58.0, area.x + area.wide - 8.0);
    let (top, bottom) = (area.y + 30.0, area.y + area.high - 30.0);
    let named = series(panel);
    let is_quiet = named.iter().all(|(_, is_quiet)| *is_quiet);
    let query = panel["targets"][0]["expr"].as_str().unwrap_or_default();
    let most = if is_quiet { 1.0 } else { usual(query, unit) };
    for part in [0.0, 0.5, 1.0] {
        let y = bottom - part * (bottom - top);
        let _ = writeln!(svg, "<path class=\"grid\" d=\"M{left:.0} {y:.1}H{right:.0}\"/>");
        line(svg, area.x + 8.0, y + 3.0, "small", &shown(part * most, unit));
    }
    let title = panel["title"].as_str().unwrap_or_default();
    for (index, (_, is_quiet)) in named.iter().enumerate().rev() {
        // Of quantiles the last is the highest.
        let level = if query.contains("quantile") { named.len() - 1 - index } else { index };
        let points = (0..POINTS).map(|step| {
            let x = left + (right - left) * step as f64 / (POINTS - 1) as f64;
            let value = if *is_quiet { 0.0 } else { wave(title, level, step) };
            format!("{x:.1},{:.1}", bottom - value * (bottom - top))
        });
        let _ = writeln!(
            svg,
            "<polyline class=\"s{}\" points=\"{}\"/>",
            index % 4,
            points.collect::<Vec<_>>().join(" ")
        );
    }
    draw_legend(svg, &named, area);
}

/// The names of the series, each behind a piece of its line.
fn draw_legend(svg: &mut String, named: &[(String, bool)], area: Area) {
    let room = (area.wide - 16.0) / named.len() as f64;
    for (index, (name, _)) in named.iter().enumerate() {
        let (x, y) = (area.x + 8.0 + room * index as f64, area.y + area.high - 10.0);
        let _ = writeln!(
            svg,
            "<polyline class=\"s{}\" points=\"{x:.1},{:.1} {:.1},{:.1}\"/>",
            index % 4,
            y - 3.0,
            x + 10.0,
            y - 3.0
        );
        // Grafana shortens a name that has no room, too.
        let letters = ((room - 18.0) / 5.8) as usize;
        let text = match name.chars().count() > letters {
            true => name.chars().take(letters.saturating_sub(1)).chain(['…']).collect(),
            false => name.clone(),
        };
        line(svg, x + 13.0, y, "small", &text);
    }
}

/// The series of a panel: their names, and whether they are zero where all is well.
fn series(panel: &Value) -> Vec<(String, bool)> {
    let mut found: Vec<(String, bool)> = Vec::new();
    for target in panel["targets"].as_array().expect("queries") {
        let query = target["expr"].as_str().expect("a query");
        let legend = target["legendFormat"].as_str().unwrap_or_default();
        let is_quiet = QUIET.iter().any(|word| query.contains(word));
        for number in 0..2 {
            let name = filled(legend, query, number);
            if !found.iter().any(|(other, _)| *other == name) {
                found.push((name, is_quiet));
            }
        }
    }
    found
}

/// A legend with its labels filled in.
fn filled(legend: &str, query: &str, number: usize) -> String {
    let mut text = String::new();
    let mut rest = legend;
    while let Some((before, after)) = rest.split_once("{{") {
        let (label, behind) = after.split_once("}}").expect("a label that ends");
        let value = LABELS.iter().find(|(word, name, _)| query.contains(word) && *name == label.trim());
        let (_, _, values) =
            value.unwrap_or_else(|| panic!("no example of the label `{label}`: add one to LABELS"));
        text.push_str(before);
        text.push_str(values[number]);
        rest = behind;
    }
    text + rest
}

/// The value of a panel that shows one number.
fn stat(panel: &Value, unit: &str) -> String {
    let query = panel["targets"][0]["expr"].as_str().expect("a query");
    match unit {
        "s" => "8.1 weeks".to_owned(),
        _ if query.contains("rejection") => "0".to_owned(),
        _ if query.contains("build_info") => "2".to_owned(),
        _ => "3".to_owned(),
    }
}

/// The value at the top of the axis.
fn usual(query: &str, unit: &str) -> f64 {
    match unit {
        "reqps" => 2.0,
        "s" => 0.008,
        "bytes" => 40.0 * 1024.0 * 1024.0,
        _ if query.contains("process_cpu") => 0.1,
        _ if query.contains("process_open_fds") => 40.0,
        _ => 8.0,
    }
}

/// A number as Grafana shows it with its unit.
fn shown(value: f64, unit: &str) -> String {
    match unit {
        _ if value == 0.0 => "0".to_owned(),
        "reqps" => format!("{value} req/s"),
        "s" => format!("{} ms", value * 1000.0),
        "bytes" => format!("{} MiB", value / 1024.0 / 1024.0),
        _ => value.to_string(),
    }
}

/// A curve between 0 and 1 that differs from panel to panel and is the same each time.
fn wave(title: &str, index: usize, step: usize) -> f64 {
    let seed = title.bytes().fold(index as u64 * 7 + 3, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
    let phase = (seed % 97) as f64 / 97.0;
    let at = step as f64 / POINTS as f64;
    let noise = (seed.wrapping_mul(step as u64 * 2 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64
        / f64::from(1 << 24);
    let level = 0.62 / (1.0 + index as f64);
    (level + 0.16 * level * (TAU * (at * 2.0 + phase)).sin() + 0.3 * level * (noise - 0.5)).clamp(0.0, 1.0)
}

fn line(svg: &mut String, x: f64, y: f64, class: &str, text: &str) {
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escape(text));
}
