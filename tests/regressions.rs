//! The seeds of the fuzz targets and every input that once broke something, through the fuzz targets' own checks.

mod support;

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is a crate of its own for the fuzz targets")]
mod oracles;

use support::root;

#[expect(clippy::print_stdout, reason = "a failing test shows its output, which names the input")]
/// Runs a check over the files of some folders; returns how many there were.
fn each(folders: &[&str], check: fn(&[u8])) -> usize {
    let mut count = 0;
    for folder in folders {
        let entries = std::fs::read_dir(root().join(folder));
        for entry in entries.unwrap_or_else(|error| panic!("{folder}: {error}")) {
            let path = entry.expect("an entry").path();
            println!("{}", path.display());
            check(&std::fs::read(path).expect("a readable input"));
            count += 1;
        }
    }
    count
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
