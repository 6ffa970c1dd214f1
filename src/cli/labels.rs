//! How the items that a model is measured on are tagged: as they are, or by rules.

use std::path::PathBuf;

use tagomatic::rules::{Others, Rules};
use tagomatic::{Model, Tag};

use super::eval::Skipped;
use super::failure::{Failure, Result};
use super::load::{self, Encoded, Reading};

#[derive(clap::Args)]
pub(super) struct Labelling {
    /// Rules that make tags out of the tags and keywords of the items; unless told, those that the model was trained with, if it was
    #[arg(long = "tags", value_name = "RULES.toml")]
    pub(super) rules: Option<PathBuf>,
    /// Take the tags of the items as they are, whatever rules the model was trained with
    #[arg(long, conflicts_with = "rules")]
    raw_tags: bool,
}

/// What tags the items.
enum Labels {
    /// Nothing: their tags are those of the file.
    Raw,
    /// The rules that the model tells of itself.
    OfModel(Rules),
    /// Rules that were given.
    Given {
        rules: Rules,
        /// Whether the model tells of others.
        are_others: bool,
    },
}

impl Labelling {
    /// Reads items that `model` is to be measured on. Fails if none has one of its tags.
    pub(super) fn encode(&self, files: &[PathBuf], reading: Reading, model: &Model) -> Result<(Encoded, Skipped)> {
        let labels = self.of(model)?;
        let keyword = |keyword: &str| model.vocabulary().get(keyword);
        let encoded = load::encode(files, reading, labels.rules(), keyword, model.tags())?;
        encoded.check_tagged(files, labels.name())?;
        let skipped = Skipped::of(&encoded, labels.name());
        Ok((encoded, skipped))
    }

    /// What tags these items.
    fn of(&self, model: &Model) -> Result<Labels> {
        let provenance = model.provenance()?;
        let stored = provenance.get("data.rules");
        Ok(match &self.rules {
            Some(path) => {
                let rules = load::rules(path)?;
                let are_others = stored.is_some_and(|stored| stored != rules.to_string());
                Labels::Given { rules, are_others }
            }
            None => match stored.filter(|_| !self.raw_tags) {
                Some(stored) => {
                    let which = "the rules in the model (--raw-tags does without)";
                    let rules = Rules::parse(stored, which)?;
                    if let Some(tag) = model.tags().iter().find(|tag| !gives(&rules, tag)) {
                        let name = &tag.name;
                        return Err(Failure::Usage(format!(
                            "--tags: expected rules for all tags of the model, whose own do not give {name:?}, found none (or --raw-tags)"
                        )));
                    }
                    Labels::OfModel(rules)
                }
                None => Labels::Raw,
            },
        })
    }
}

/// Whether the rules can give a tag of the model, which may have been renamed or added since.
fn gives(rules: &Rules, tag: &Tag) -> bool {
    let is_named = rules.rules().iter().any(|rule| !rule.deprecated && rule.name == tag.name);
    let is_renamed = rules.rules().iter().any(|rule| rule.id == Some(tag.id) && rule.name != tag.name);
    !is_renamed && (is_named || rules.others() == Others::Keep)
}

impl Labels {
    fn rules(&self) -> Option<&Rules> {
        match self {
            Labels::Raw => None,
            Labels::OfModel(rules) | Labels::Given { rules, .. } => Some(rules),
        }
    }

    /// What they are, for people and documents.
    fn name(&self) -> Option<&'static str> {
        match self {
            Labels::Raw => None,
            Labels::OfModel(_) => Some("rules of the model"),
            Labels::Given { are_others: false, .. } => Some("rules given"),
            Labels::Given { are_others: true, .. } => Some("rules given, other than those of the model"),
        }
    }
}
