//! The seeds of the fuzz targets and every input that once broke something, through the fuzz targets' own checks;
//! then the seeds again with random damage, the same each time. `FUZZ_ROUNDS` makes it longer, `FUZZ_SEED` other.

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is a crate of its own for the fuzz targets")]
mod oracles;

use crate::support::root;

/// Random numbers enough to damage an input (xorshift64*, Vigna 2016).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap_or_default() % sides.max(1)
    }

    /// Changes a few bytes, repeats, drops or moves pieces, splices in another seed, puts in words that matter.
    fn damage(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        const WORDS: [&str; 16] = [
            "prefect", "server", "start", "null", "[]", "{}", "\"", "\\", "$(", "${", "'", "\n", "\u{fdd0}",
            "@", "%", "\0",
        ];
        for _ in 0..=self.roll(4) {
            let from = self.roll(input.len() + 1);
            let to = (from + self.roll(24)).min(input.len());
            match self.roll(6) {
                0 if from < input.len() => input[from] ^= 1 << self.roll(8),
                1 => drop(input.drain(from..to)),
                2 => {
                    let piece = input[from..to].repeat(1 + self.roll(3));
                    input.splice(to..to, piece);
                }
                3 => {
                    let other = &seeds[self.roll(seeds.len())];
                    let start = self.roll(other.len() + 1);
                    let end = (start + self.roll(80)).min(other.len());
                    input.splice(from..to, other[start..end].iter().copied());
                }
                4 => drop(input.splice(from..from, WORDS[self.roll(WORDS.len())].bytes())),
                _ => {
                    let piece: Vec<u8> = input.drain(from..to).collect();
                    let at = self.roll(input.len() + 1);
                    input.splice(at..at, piece);
                }
            }
        }
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs a check over the files of some folders, whole and damaged; returns how many files there were.
#[expect(clippy::print_stdout, reason = "a failing test shows its output, which names the input")]
fn each(folders: &[&str], check: fn(&[u8])) -> usize {
    let mut seeds = Vec::new();
    for folder in folders {
        let entries = std::fs::read_dir(root().join(folder));
        for entry in entries.unwrap_or_else(|error| panic!("{folder}: {error}")) {
            let path = entry.expect("an entry").path();
            println!("{}", path.display());
            let seed = std::fs::read(path).expect("a readable input");
            check(&seed);
            seeds.push(seed);
        }
    }
    seeds.sort();
    let mut dice = Dice(number("FUZZ_SEED", 20_261_123));
    for round in 0..number("FUZZ_ROUNDS", 400) {
        let mut input = seeds[dice.roll(seeds.len())].clone();
        dice.damage(&mut input, &seeds);
        println!("round {round}: {:?}", String::from_utf8_lossy(&input));
        check(&input);
    }
    seeds.len()
}

#[test]
fn decode() {
    assert!(each(&["tests/fixtures/reviews", "fuzz/regressions/decode"], oracles::decode) > 10);
}

#[test]
fn decide() {
    assert!(each(&["tests/fixtures/reviews", "fuzz/regressions/decide"], oracles::decide) > 10);
}

#[test]
fn settings() {
    assert!(each(&["fuzz/seeds/settings", "fuzz/regressions/settings"], oracles::settings) > 4);
}

#[test]
fn shell() {
    assert!(each(&["fuzz/seeds/shell", "fuzz/regressions/shell"], oracles::shell) > 3);
}

#[test]
fn policy() {
    assert!(each(&["fuzz/seeds/policy", "fuzz/regressions/policy"], oracles::policy) > 1);
}

#[test]
fn manifest() {
    assert!(each(&["tests/fixtures/bypass", "fuzz/regressions/manifest"], oracles::manifest) > 10);
}
