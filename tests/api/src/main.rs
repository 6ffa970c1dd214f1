//! Lists the public interface of the library, or tells what has become of it since it was listed.
//!
//!     tests/api/run.sh            what was removed or changed is told, and an error once the version at hand is released
//!     tests/api/run.sh --renew    lists it anew in `tests/api/public.txt`: to be done with a new version

use std::collections::BTreeSet;
use std::error::Error;
use std::process::ExitCode;

const LISTING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/public.txt");
const CHANGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../CHANGELOG.md");

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let json = arguments.next().ok_or("expected the JSON that rustdoc made, found no argument")?;
    // Traits that every type has by being one, or by derive, say little and are many.
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    let now: BTreeSet<String> = api.items().map(ToString::to_string).collect();
    if arguments.next().as_deref() == Some("--renew") {
        let lines: Vec<&str> = now.iter().map(String::as_str).collect();
        std::fs::write(LISTING, lines.join("\n") + "\n")?;
        println!("{} public items listed", now.len());
        return Ok(ExitCode::SUCCESS);
    }
    let listed = std::fs::read_to_string(LISTING)?;
    let listed: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
    let gone: Vec<&String> = listed.difference(&now).collect();
    let new = now.difference(&listed).count();
    println!("{} public items, {new} of them new since they were listed", now.len());
    if gone.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("no longer there as they were listed, so callers may break:");
    gone.iter().for_each(|item| println!("- {item}"));
    // Nobody can rely on a version that is not out.
    if std::fs::read_to_string(CHANGES)?
        .lines()
        .find(|line| line.starts_with("## "))
        .is_some_and(|line| line.ends_with("not released"))
    {
        println!("no error, since the version is not released; before it is, list anew: tests/api/run.sh --renew");
        return Ok(ExitCode::SUCCESS);
    }
    println!("raise the version, say so in CHANGELOG.md, and list anew: tests/api/run.sh --renew");
    Ok(ExitCode::FAILURE)
}
