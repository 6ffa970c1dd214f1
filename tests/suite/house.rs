//! The rooms of the library, as `src/lib.rs` lists them: each uses only those above it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The words in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn rooms_use_only_those_above_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let house = fs::read_to_string(src.join("lib.rs")).unwrap();
    let (_, list) = house.split_once("# The house").unwrap();
    let rows = list.lines().filter_map(|line| line.strip_prefix("//! | ")?.split_once(" |")).map(|(rooms, _)| rooms);
    let floor: HashMap<&str, usize> =
        rows.enumerate().flat_map(|(floor, rooms)| quoted(rooms).map(move |room| (room, floor))).collect();
    assert!(floor.len() > 30);

    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut uses = 0;
    for path in files {
        let room = path.strip_prefix(&src).unwrap().components().next().unwrap().as_os_str().to_str().unwrap();
        let room = room.trim_end_matches(".rs");
        // The program, the guide, the entrance and tests use whatever they like.
        if ["cli", "guide", "lib", "main"].contains(&room)
            || path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
        {
            continue;
        }
        let own = *floor.get(room).unwrap_or_else(|| panic!("{room} is not in the list of the house"));
        let text = fs::read_to_string(&path).unwrap();
        // Tests stand at the end of a file.
        let code = text.lines().take_while(|line| !line.contains("mod tests"));
        for line in code.filter(|line| !line.trim_start().starts_with("//")) {
            let ends = |c: char| !c.is_alphanumeric() && c != '_';
            for used in line.split("crate::").skip(1).filter_map(|path| path.split(ends).next()) {
                if let Some(of) = floor.get(used) {
                    uses += 1;
                    assert!(
                        *of <= own,
                        "{}: {room} uses {used}, which stands below it in the list of the house",
                        path.display()
                    );
                }
            }
        }
    }
    assert!(uses > 300, "{uses}");
}
