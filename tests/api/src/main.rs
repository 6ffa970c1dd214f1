//! Lists the public interface of the library, or tells what has become of it since it was listed.
//!
//!     tests/api/run.sh            what was removed or changed is an error, what was added is told
//!     tests/api/run.sh --renew    lists it anew in `tests/api/public.txt`: to be done with a new version

use std::collections::BTreeSet;
use std::error::Error;
use std::process::ExitCode;

const LISTING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/public.txt");

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
    println!("raise the version if it is released, say so in CHANGELOG.md, and list anew: tests/api/run.sh --renew");
    Ok(ExitCode::FAILURE)
}
