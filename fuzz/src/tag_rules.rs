//! Rules of any text: an error in a line, or rules that say what they were told and label any item.

use tagomatic::Error;
use tagomatic::data::Item;
use tagomatic::rules::{Labeller, Rules, Withhold};

pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let rules = match Rules::parse(text, "rules") {
        Ok(rules) => rules,
        Err(Error::Rules { line, problem, .. }) => {
            assert!((1..=text.lines().count() as u64 + 1).contains(&line) && !problem.is_empty());
            return;
        }
        Err(Error::TooLarge { .. }) => return,
        Err(other) => panic!("{other:?}"),
    };
    let written = rules.to_string();
    let again = Rules::parse(&written, "rules").unwrap_or_else(|error| panic!("{error}\n{written}"));
    assert_eq!(again.to_string(), written);
    let words: Vec<String> = text.split(|c: char| c.is_whitespace() || "\"[],=".contains(c)).map(str::to_owned).collect();
    for withhold in [Withhold::FromAll, Withhold::FromTag] {
        let mut labeller = Labeller::new(&rules, withhold);
        for words in words.chunks(5).take(8) {
            let mut item = Item { keywords: words.to_vec(), tags: words.to_vec(), ..Item::default() };
            labeller.label(&mut item);
            assert!(item.tags.iter().all(|tag| !item.excluded.contains(tag)), "{item:?}");
            assert!(item.keywords.len() <= words.len());
        }
        let _ = labeller.check_used();
    }
    match rules.number(rules.rules().iter().filter(|rule| !rule.deprecated).map(|rule| rule.name.clone())) {
        Ok(tags) => assert!(tags.iter().all(|tag| rules.rules().iter().any(|rule| rule.id == Some(tag.id)))),
        Err(error) => assert!(matches!(error, Error::BadName { .. } | Error::TooLarge { .. }), "{error:?}"),
    }
}
