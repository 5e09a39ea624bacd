//! What a file gives away beside what it is for, and what of that a conversion took out.

use super::Media;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// Something a file tells of its maker, or carries hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Disclosure {
    /// Where it was made.
    Location,
    /// Who made it or holds the rights: a person, a company.
    Author,
    /// The camera, telephone or lens, by its make, model or serial number.
    Device,
    /// The program it was made with.
    Software,
    /// When it was made or changed.
    Time,
    /// A title, caption, comment or keywords.
    Description,
    /// A small picture of the whole, or a cover: it may show what has been cut out since.
    Thumbnail,
    /// Notes of readers in the margin.
    Comments,
    /// Text that was taken out or put in, and by whom.
    TrackedChanges,
    /// Programs: Basic, VBA, JavaScript.
    Macros,
    HiddenSheets,
    HiddenSlides,
    /// Whole files within it.
    Attachments,
}

/// What the input gave away, and what of it is gone from an output; both are measured from the files themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    pub found: BTreeSet<Disclosure>,
    pub removed: BTreeSet<Disclosure>,
}

impl Receipt {
    /// None where one of the two could not be looked into.
    pub fn new(input: Option<&BTreeSet<Disclosure>>, output: &Media) -> Option<Receipt> {
        let (found, left) = (input?, output.discloses.as_ref()?);
        Some(Receipt { found: found.clone(), removed: found - left })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Disclosure::{Author, Location, Software};

    #[test]
    fn what_is_still_there_was_not_removed() {
        let found = BTreeSet::from([Location, Author]);
        let output = |discloses| Media { discloses, ..Media::default() };
        let receipt = Receipt::new(Some(&found), &output(Some(BTreeSet::from([Author, Software])))).unwrap();
        assert_eq!((receipt.found, receipt.removed), (found.clone(), BTreeSet::from([Location])));
        assert_eq!(Receipt::new(Some(&found), &output(None)), None, "nobody has looked");
        assert_eq!(Receipt::new(None, &output(Some(BTreeSet::new()))), None);
    }
}
