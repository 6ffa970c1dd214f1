//! An item as it stands in a file.

/// An item: keywords, and tags if they are known. Strings may repeat; what is made of the item counts them once.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// A name for people and for joining results with their items.
    pub id: Option<String>,
    /// The keywords.
    pub keywords: Vec<String>,
    /// The tags.
    pub tags: Vec<String>,
    /// Tags that the item lacks without being a negative of them: such pairs are left out of training.
    pub excluded: Vec<String>,
    /// How much the item counts in training: finite, not negative, normally 1.
    pub weight: f32,
}

impl Default for Item {
    fn default() -> Self {
        Item { id: None, keywords: Vec::new(), tags: Vec::new(), excluded: Vec::new(), weight: 1.0 }
    }
}

#[cfg(test)]
impl Item {
    /// An item from words separated by spaces.
    pub(crate) fn of(keywords: &str, tags: &str) -> Self {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        Item { keywords: words(keywords), tags: words(tags), ..Item::default() }
    }
}
