//! Text with a terminal's colours as an SVG that follows the reader's light or dark theme.

/// The terminal's width in characters; longer lines go on in the next one.
const COLUMNS: usize = 120;
/// Pixels: a character, a line, the margin.
const WIDTH: f64 = 8.4;
const HEIGHT: usize = 20;
const MARGIN: usize = 16;

const STYLE: &str = "text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;\
white-space:pre;fill:#1f2328}rect{fill:#f6f8fa;stroke:#d1d9e0}.bold{font-weight:600}.red{fill:#cf222e}\
.green{fill:#1a7f37}.yellow{fill:#9a6700}.blue{fill:#0969da}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}rect{fill:#0d1117;stroke:#3d444d}.red{fill:#ff7b72}\
.green{fill:#3fb950}.yellow{fill:#d29922}.blue{fill:#79c0ff}}";

/// How a character is shown.
#[derive(Clone, Copy, PartialEq, Default)]
struct Look {
    bold: bool,
    colour: Option<&'static str>,
}

impl Look {
    fn classes(self) -> Vec<&'static str> {
        self.bold.then_some("bold").into_iter().chain(self.colour).collect()
    }

    /// After one number of an escape sequence.
    fn after(self, code: &str) -> Look {
        match code {
            "" | "0" => Look::default(),
            "1" => Look { bold: true, ..self },
            "31" | "91" => Look { colour: Some("red"), ..self },
            "32" | "92" => Look { colour: Some("green"), ..self },
            "33" | "93" => Look { colour: Some("yellow"), ..self },
            "34" | "94" | "36" | "96" => Look { colour: Some("blue"), ..self },
            other => panic!("no colour is drawn for {other}"),
        }
    }
}

/// The characters of a line, each with its look. What is open at its end stays open.
fn read(line: &str, look: &mut Look) -> Vec<(char, Look)> {
    let mut found = Vec::new();
    let mut parts = line.split("\u{1b}[");
    found.extend(parts.next().unwrap_or_default().chars().map(|c| (c, *look)));
    for part in parts {
        let (codes, rest) = part.split_once('m').expect("an escape sequence for a colour");
        *look = codes.split(';').fold(*look, Look::after);
        found.extend(rest.chars().map(|c| (c, *look)));
    }
    found
}

/// A line without colours.
pub(super) fn plain(line: &str) -> String {
    read(line, &mut Look::default()).into_iter().map(|(c, _)| c).collect()
}

/// A line in pieces that fit, each but the last up to the end of a word where there is one.
fn broken(mut line: &[(char, Look)]) -> Vec<Vec<(char, Look)>> {
    let mut pieces = Vec::new();
    while line.len() > COLUMNS {
        let blank = line[..COLUMNS].iter().rposition(|(c, _)| *c == ' ').filter(|at| *at > COLUMNS / 2);
        let (piece, rest) = line.split_at(blank.map_or(COLUMNS, |at| at + 1));
        pieces.push(piece.to_vec());
        line = rest;
    }
    pieces.push(line.to_vec());
    pieces
}

/// The picture of a terminal's content.
pub(super) fn draw(title: &str, text: &str) -> String {
    let mut look = Look::default();
    let mut lines: Vec<Vec<(char, Look)>> = Vec::new();
    for line in text.lines() {
        let line = read(line, &mut look);
        match line.is_empty() {
            true => lines.push(line),
            false => lines.extend(broken(&line)),
        }
    }
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let wide = (columns as f64 * WIDTH).ceil() as usize + 2 * MARGIN;
    let high = lines.len() * HEIGHT + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{high}\" viewBox=\"0 0 {wide} {high}\" \
         role=\"img\" aria-label=\"{0}\">\n<title>{0}</title>\n<style>{STYLE}</style>\n\
         <rect x=\"0.5\" y=\"0.5\" width=\"{1}\" height=\"{2}\" rx=\"6\"/>\n",
        escape(title),
        wide - 1,
        high - 1
    );
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
        let y = MARGIN + HEIGHT * number + 15;
        // The length is given, so that a font of another width fills the same columns.
        let length = line.len() as f64 * WIDTH;
        svg.push_str(&format!(
            "<text x=\"{MARGIN}\" y=\"{y}\" textLength=\"{length:.1}\" xml:space=\"preserve\">"
        ));
        for run in line.chunk_by(|one, other| one.1 == other.1) {
            let text = escape(&run.iter().map(|(c, _)| *c).collect::<String>());
            match run[0].1.classes().join(" ") {
                classes if classes.is_empty() => svg.push_str(&text),
                classes => svg.push_str(&format!("<tspan class=\"{classes}\">{text}</tspan>")),
            }
        }
        svg.push_str("</text>\n");
    }
    svg + "</svg>\n"
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
