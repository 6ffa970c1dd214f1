//! The header for C, which people write and read, says what a generator reads out of the code.

use cbindgen::{Builder, Config, Language, Style};

/// The words and signs of a header, without comments and preprocessor lines.
fn tokens(header: &str) -> Vec<String> {
    let mut code = String::new();
    let mut rest = header;
    while let Some((before, comment)) = rest.split_once("/*") {
        code.push_str(before);
        rest = comment.split_once("*/").unwrap().1;
    }
    code.push_str(rest);
    let lines = code.lines().filter(|line| !line.trim_start().starts_with('#') && !line.contains("extern \"C\""));
    let mut tokens: Vec<String> = vec![String::new()];
    for c in lines.flat_map(|line| line.chars().chain([' '])) {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        if !tokens.last().is_some_and(|last| last.ends_with(word) && word(c)) {
            tokens.push(String::new());
        }
        if let Some(last) = tokens.last_mut().filter(|_| !c.is_whitespace()) {
            last.push(c);
        }
    }
    tokens.retain(|token| !matches!(token.as_str(), "" | "struct" | "enum"));
    tokens
}

/// What a header declares: functions, types, fields and values, in no order. A place for a handle has a name of its own in the code only.
fn declarations(header: &str) -> Vec<String> {
    let tokens = tokens(header);
    let mut declarations: Vec<String> = tokens
        .split(|token| matches!(token.as_str(), ";" | "{" | "}"))
        .filter(|declaration| {
            !(declaration.first().is_some_and(|first| first == "typedef") && declaration.contains(&"*".to_owned()))
        })
        .map(|declaration| {
            let mut text = declaration.join(" ");
            for handle in ["tagger", "scratch", "live"] {
                text = text.replace(&format!("Place_tagm_{handle}"), &format!("tagm_{handle} * *"));
            }
            text.trim_end_matches([' ', ',']).to_owned()
        })
        .filter(|declaration| !declaration.is_empty())
        .collect();
    declarations.sort();
    declarations
}

/// The declarations that a generator reads out of these files of the interface, and of its root.
fn generated(files: &[&str]) -> Vec<String> {
    let config = Config { language: Language::C, style: Style::Both, usize_is_size_t: true, ..Config::default() };
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/");
    let builder = Builder::new().with_config(config).with_src(format!("{source}capi.rs"));
    let builder = files.iter().fold(builder, |builder, file| builder.with_src(format!("{source}capi/{file}.rs")));
    let mut header = Vec::new();
    builder.generate().unwrap().write(&mut header);
    declarations(&String::from_utf8(header).unwrap())
}

/// The header as a library shows it that has these features beside `capi`.
fn written(features: &[&str]) -> Vec<String> {
    let mut header = include_str!("../../src/capi/tagomatic.h").to_owned();
    for feature in ["TAGOMATIC_TRAIN", "TAGOMATIC_LIVE"] {
        let (before, rest) = header.split_once(&format!("#ifdef {feature}\n")).unwrap();
        let (inside, after) = rest.split_once("\n#endif\n").unwrap();
        header = [before, if features.contains(&feature) { inside } else { "" }, after].concat();
    }
    declarations(&header)
}

#[test]
fn the_header_says_what_the_code_does() {
    let serving = ["border", "model", "score", "explain"];
    assert!(written(&[]).len() > 30);
    assert_eq!(written(&[]), generated(&serving));
    assert_eq!(written(&["TAGOMATIC_TRAIN"]), generated(&[&serving[..], &["train"]].concat()));
    assert_eq!(written(&["TAGOMATIC_LIVE"]), generated(&[&serving[..], &["live"]].concat()));
    let version = format!("#define TAGM_ABI_VERSION {}", tagomatic::capi::TAGM_ABI_VERSION);
    assert!(include_str!("../../src/capi/tagomatic.h").contains(&version), "{version}");
}
